"""What every web framework shares: nothing here knows a framework, and nothing here does I/O.

`cookie` reads and writes the session cookie, `csrf` judges where a request comes from, `hosts` which names
this service answers to, `problem` says a refusal (RFC 9457), `return_to` keeps redirects at home, and
`client` tells who is asking.
"""
