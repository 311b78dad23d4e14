"""What hardness is compared with: other weightings of pixels, and maps that another model wrote."""
