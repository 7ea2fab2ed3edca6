"""The shell around the methods: studies on disk, the loop, the clock, the report."""
