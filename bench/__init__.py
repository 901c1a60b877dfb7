"""What Sessile costs, as ratios within one run: `python -m bench`, `make bench`."""
