"""Runs that talk: what stands in a log where there is no terminal."""

from goldpanner.progress import Event, ProgressLines, duration
from goldpanner.train.reward import ONE_SIDED_STEPS, OneSidedWatch, reward_note


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def lines_of(events):
    """Feed (seconds, event) to the lines and return them."""
    clock, lines = Clock(), []
    progress = ProgressLines(lines.append, clock)
    for seconds, event in events:
        clock.now = seconds
        progress(event)
    return lines


def test_a_long_run_says_where_it_is_and_how_long_it_took():
    events = [(10.0 + 2 * i, Event("rl", "grpo", i, 100, f"reward {i / 100:.2f}")) for i in range(101)]
    lines = lines_of(events)
    assert lines[0] == "GRPO rl: 0 of 100  reward 0.00"
    assert lines[-1] == "GRPO rl: done in 3 min 20 s  reward 1.00"
    assert lines[1] == "GRPO rl: 3 of 100  reward 0.03  (6.0 s elapsed, 3 min 14 s left)"
    assert 12 < len(lines) < 40, "often at first, then once in a tenth of the time gone by"


def test_a_resumed_run_reckons_with_what_it_did_itself():
    lines = lines_of([(0.0, Event("rl", "grpo", 90, 100)), (5.0, Event("rl", "grpo", 95, 100))])
    assert lines[-1].endswith("(5.0 s elapsed, 5.0 s left)")


def test_a_single_event_makes_no_claim_of_a_time():
    assert lines_of([(3.0, Event("study w0", "measure", 1, 1, "12 s"))]) == ["measuring study w0: done  12 s"]


def test_messages_are_written_and_an_end_once():
    end = Event("rl", "grpo", 2, 2)
    lines = lines_of([(0, Event("rl", "grpo", 0, 2)), (1, Event("rl", "grpo", message="look")), (2, end), (3, end)])
    assert lines == ["GRPO rl: 0 of 2", "look", "GRPO rl: done in 2.0 s"]


def test_durations():
    assert [duration(x) for x in (0.04, 12.4, 185, 7620)] == ["0.0 s", "12 s", "3 min 05 s", "2 h 07 min"]


def record(step, mixed, wrong):
    return {"step": step, "reward": 0.5, "mixed": mixed, "all_wrong": wrong, "all_correct": 1 - mixed - wrong}


def test_a_note_names_the_three_kinds_of_groups():
    assert reward_note(record(0, 0.25, 0.5)) == "reward 0.50  mixed 25%, all wrong 50%, all correct 25%"


def test_steps_without_a_mixed_group_are_told_once():
    watch = OneSidedWatch()
    told = [watch.message("rl", record(i, 0.0, 1.0)) for i in range(ONE_SIDED_STEPS + 3)]
    assert [bool(text) for text in told] == [i == ONE_SIDED_STEPS - 1 for i in range(ONE_SIDED_STEPS + 3)]
    assert "fine-tune first" in "".join(told)
    watch.message("rl", record(9, 0.1, 0.9))
    again = [watch.message("rl", record(i, 0.0, 0.0)) for i in range(ONE_SIDED_STEPS)]
    assert "harder problems" in again[-1]
