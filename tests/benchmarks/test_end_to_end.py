"""How the stages of a run are summed up."""

from benchmarks.end_to_end import sum_up


def test_stages_are_summed_by_kind_and_the_rest_is_shown() -> None:
    stages = [
        {"name": "data of a", "seconds": 1.0},
        {"name": "data of b", "seconds": 2.0},
        {"name": "sasrec, seed 0", "seconds": 10.0},
        {"name": "evaluation of sasrec, seed 0", "seconds": 0.5},
        {"name": "sasrec, seed 1", "seconds": 5.0},
    ]
    assert [(row["stage"], row["seconds"], row["share"]) for row in sum_up(stages, 20.0)] == [
        ("data", 3.0, 0.15),
        ("sasrec", 15.0, 0.75),
        ("evaluation", 0.5, 0.025),
        ("start, export, report", 1.5, 0.075),
        ("in all", 20.0, 1.0),
    ]
