"""Claims about QuickSelection and column subset selection."""
