"""A language model that plans and words answers over the copilot's own tools, where one is configured."""
