"""What the web console reads and keeps: people and sessions, rows as they come, pages of results, counts by hour."""
