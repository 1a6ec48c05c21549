"""Hostile input by the million: valid files of every kind, spoilt at random, given to every reader and every command."""
