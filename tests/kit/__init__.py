"""What the programs under tests/ and bench/ share: corpus, server, wire, report."""
