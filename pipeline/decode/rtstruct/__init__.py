"""Fill the contours of RT structure sets on the planes of their images."""
