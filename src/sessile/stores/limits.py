"""How long the remote stores wait, how often they try again, and how many connections they open: one place.

How often nodes ping, and when they connect again, is the protocol's: `sessile.follow`; a revoker's patience `settle`'s.
"""

from __future__ import annotations

CONNECT_SECONDS = 3
"""Until a connection stands."""
STATEMENT_SECONDS = 2.0
"""Until a statement is answered, waiting for locks included; the engine is told too."""
AWAY_SECONDS = 1.0
"""How long reads are refused at once after one was not answered: a crowd of requests is not made to wait for each."""
REFUSED_SECONDS = 0.1
"""And after a connection could not be made."""
WRITE_SECONDS = 10.0
"""Until a change is committed or given up, waiting for its turn included."""
START_SECONDS = 30.0
"""How long the first `open` waits for an engine that is away. Later ones ask once."""
COMPLAIN_SECONDS = 5.0
"""How often it is said meanwhile that it is away."""
ATTEMPTS = 8
"""How often a change is tried whose transaction the engine gave up for another one's sake."""
RETRY_SECONDS = 0.01
"""The pause before the first of them; each further one is twice as long, at random up to that."""
SELF_TEST_SECONDS = 2.0
"""Until an announcement of one's own has arrived, unasked."""
DEAF_SECONDS = 2.0
"""Until an engine is followed anew that had no room for an announcement."""
QUEUE = 10_000
"""Changes that may wait; more are refused at once."""

# Connections of one process, ten at most. Each is opened when it is first needed.
CHECKS = 3
"""For reading what the near cache does not have."""
WRITERS = 3
ENDINGS = 1
"""Of its own: no ending waits behind another change."""
LISTS = 2

# Redis and Valkey.
QUORUM_MILLISECONDS = 400
"""Until a majority has acknowledged a write, or its disks have it."""
AGAIN_SECONDS = 1.0
"""How often it is looked whether a row of the journal is not applied yet."""
TOLD_SECONDS = 0.25
"""For how long an ending waits for its own announcement to come back to the node."""
PLACES_SECONDS = 1.0
"""How often it is asked where the primaries are, if nothing has said that they are elsewhere."""
PLACES_AT_MOST_SECONDS = 0.05
"""The pause between two times of asking that, whatever is said."""
OTHERS_SECONDS = 0.1
"""For how long the others are waited for when one of them has answered."""
HINT_SECONDS = 2.0
"""How long a server's word counts that a partition is another one's, against others that have not heard of it."""
MOVE_SECONDS = 1.0
"""For how long a read waits for a partition that is on its way to another server."""
