"""What the maps say: arrays in, arrays out."""
