"""The ones that are not people: what was handed out, what it reaches, and how it all ends."""
