"""What `tools/peers` is made of: packages, a place to run, one file per server."""
