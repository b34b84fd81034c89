"""Block lists as the text that firewalls and resolvers pull.

`render` is pure: a snapshot and a format in, bytes out. The command line and the HTTP route give the same bytes.
"""

from api.feeds.render import FORMATS, FeedFormat, count_entries, render

__all__ = ["FORMATS", "FeedFormat", "count_entries", "render"]
