"""One line of code per term of the equation. A loss knows no network and no loop."""
