"""One module a representation; each turns the frames of a series into masks or an image on a grid."""
