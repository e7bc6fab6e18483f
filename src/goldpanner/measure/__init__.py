"""The instrument: pure functions of counts (for rare events, of weighted samples). No store, no policies, no torch."""
