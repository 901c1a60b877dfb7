"""How people prove themselves: a file per factor, usable in any application that has an `Authority`."""
