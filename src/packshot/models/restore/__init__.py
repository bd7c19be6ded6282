"""Networks that restore pictures: more pixels, fewer traces of noise, blur and JPEG."""
