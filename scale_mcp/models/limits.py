"""What Scale takes at most, each limit stated once for requests, tools and the sandbox.

Where a document writes MB or kB without saying which, the smaller reading holds: being told so before sending costs
nothing, being refused after 80 MB does.
"""

FILE_BYTES = 80_000_000
FILE_METADATA_BYTES = 8_000  # as JSON
TASK_METADATA_BYTES = 10 * 1024  # as JSON; documented in KB of 1,024
TAGS = 5  # of one task
