"""The monthly restore of what RDS keeps into an instance of its own."""
