"""Group utterances of like length into batches, as a function of the part's plan alone.

A resumed run must form the very batches of an undisturbed one: batching alone changes 0.13% of the fp16
elements by one step (measured with whisper-base), because matrix products are summed in another order.
"""

from collections.abc import Sequence


def batches(padded: Sequence[int], limit: int) -> list[tuple[int, ...]]:
    """Sort by length and fill batches greedily, each padded to its longest member.

    Args:
        padded: samples the model works through for each utterance; 0 for one that is too short to run.
        limit: the most padded samples in a batch. A longer utterance makes a batch of its own.

    Returns:
        Places in ``padded``, each in exactly one batch but for those of length 0. The longest come first, so
        that the memory a run needs shows in its first batch, and its last ones are quick.
    """
    order = sorted((place for place, length in enumerate(padded) if length), key=lambda p: (padded[p], p))
    groups: list[list[int]] = []
    for place in order:
        # Ascending lengths: the newcomer is the longest, so the batch is padded to it.
        if groups and (len(groups[-1]) + 1) * padded[place] <= limit:
            groups[-1].append(place)
        else:
            groups.append([place])
    return [tuple(group) for group in reversed(groups)]


def batch_seconds_for(device: str) -> float:
    """Seconds of audio in a batch unless the user says otherwise.

    On a processor, batches of 20 s are as fast as larger ones (measured with whisper-tiny.en and
    whisper-base) and keep less in memory; a GPU needs more to be busy.
    """
    return 20.0 if device.startswith("cpu") else 60.0
