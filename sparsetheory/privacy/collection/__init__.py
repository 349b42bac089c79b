"""The server side: mergeable moments, and what they say."""
