"""Where sessions and principals are kept. `protocol` is the contract; each store is one page beside it."""
