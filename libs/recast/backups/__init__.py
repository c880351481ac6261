"""What every service that backs up whole servers does: rules in `domain`, without I/O."""
