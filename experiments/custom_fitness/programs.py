from pathlib import Path

from evomerge.fitness import load_items


def with_tests(task, split):
    """Give each item of a task the code that judges a program that sets `answer`."""
    items = load_items(f"zoo:{task}.{split}.jsonl", folder=Path(), limit=20)
    tests = {
        "count_bits": "assert answer == '{last}'.count('1')",
        "sort_up": "assert answer.split() == '{answer}'.split()",
    }
    return [
        {**item, "test": tests[task].format(last=item["prompt"].split()[-1], **item)}
        for item in items
    ]


def bits():
    """Return prompts such as 'count 1 1011:'; the search sees these."""
    return with_tests("count_bits", "search")


def bits_holdout():
    """Return those of the report."""
    return with_tests("count_bits", "holdout")


def sorting():
    """Return prompts such as 'sort 0 68 7:'; the search sees these."""
    return with_tests("sort_up", "search")


def sorting_holdout():
    """Return those of the report."""
    return with_tests("sort_up", "holdout")
