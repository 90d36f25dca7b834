"""Where sets rest: one contract, several stores."""
