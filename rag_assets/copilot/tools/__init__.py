"""What the copilot can look at: each tool takes a typed request and gives a `ToolResult`."""
