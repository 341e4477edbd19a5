"""System checks: settings that are missing or wrong, each named in a sentence."""
