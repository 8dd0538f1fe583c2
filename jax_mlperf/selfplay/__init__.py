"""Self-play of Go on the devices: games, the replay window, matches."""
