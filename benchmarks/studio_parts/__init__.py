"""Parts of the studio's benchmark."""
