"""Names of the checks that a build must pass before it answers.

They stand apart because Dagster declares the checks before anything heavy is imported.
"""

NOT_EMPTY = "index_is_not_empty"
COUNT = "count_equals_corpus"
HASHES = "content_hashes_equal_corpus"
SAMPLE = "sample_finds_itself"
GOLDEN = "golden_questions_hit_at_5"

CHECK_NAMES = (NOT_EMPTY, COUNT, HASHES, SAMPLE, GOLDEN)
"""In the order in which they run."""
