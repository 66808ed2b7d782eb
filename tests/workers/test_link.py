"""Messages in frames, files beside them, and ends that hang or go."""

import os
import socket

from proxy.workers.link import Link, Message, pair
from tests.workers.house import until

BOTH_LOOPS = True


class Ends:
    """Two ends of one link, and what each has heard."""

    def __init__(self, *, waiting: int = 1 << 20) -> None:
        self.heard: list[Message] = []
        self.lost: list[str] = []
        one, self.raw = pair()
        self.link = Link(one, self.heard.append, lambda: self.lost.append("one"), waiting=waiting)
        self.link.open()
        self.other_heard: list[Message] = []
        self.other: Link | None = None

    def join(self) -> Link:
        """Let the other end listen."""
        self.other = Link(self.raw, self.other_heard.append, lambda: self.lost.append("other"))
        self.other.open()
        return self.other

    def close(self) -> None:
        self.link.close()
        if self.other is not None:
            self.other.close()
        else:
            self.raw.close()


async def test_messages_come_in_order_whole_and_with_their_files() -> None:
    """Small ones, one of a megabyte, and open files: each as it was sent, in the order in which it was sent."""
    ends = Ends(waiting=8 << 20)
    reading, writing = os.pipe()
    sent = [("a", {"n": 1}, b""), ("big", None, b"x" * (1 << 20)), ("file", [writing], b"head"), ("z", "ende", b"")]
    for kind, data, blob in sent:
        assert ends.link.say(kind, data, blob=blob, files=[writing] if kind == "file" else ())
    os.close(writing)
    ends.join()
    await until(lambda: len(ends.other_heard) == len(sent))
    assert [(each.kind, each.data, each.blob) for each in ends.other_heard] == sent
    (file,) = ends.other_heard[2].files
    os.write(file, b"through")
    assert os.read(reading, 20) == b"through"
    assert not os.get_inheritable(file)
    os.close(file)
    os.close(reading)
    ends.close()


async def test_what_was_said_before_an_end_is_heard_before_it() -> None:
    """A process that dies has been heard to its last word, even by somebody who was just writing to it."""
    ends = Ends()
    other = ends.join()
    for number in range(100):
        other.say("word", number)
    other.close()
    assert not ends.link.say("late") or not ends.link.say("later")
    await until(lambda: ends.lost)
    assert [each.data for each in ends.heard] == list(range(100))
    assert ends.lost == ["one"]
    ends.close()


async def test_an_end_that_takes_nothing_is_given_up() -> None:
    """What waits for it is bounded; nobody waits meanwhile, and it is told once."""
    ends = Ends(waiting=1 << 20)
    said = 0
    while ends.link.say("blob", None, blob=b"x" * 65536):
        said += 1
        assert said < 100
    await until(lambda: ends.lost)
    assert ends.link.over
    assert ends.lost == ["one"]
    ends.close()


async def test_another_language_ends_the_link() -> None:
    """Another version, or something that is no message, and files that are missing: the link is over."""
    for words in (b"\x02" + bytes(11), b"\x01\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00{]", b"\x01\x05" + bytes(10)):
        ends = Ends()
        ends.raw.send(words)
        await until(lambda: ends.lost)  # noqa: B023  it is waited for here
        assert not ends.heard
        ends.close()


async def test_a_message_that_fails_does_not_end_the_link() -> None:
    """A fault of ours with one message is logged by its type, and the next one is heard."""
    heard: list[str] = []

    def hear(message: Message) -> None:
        heard.append(message.kind)
        if message.kind == "bad":
            raise ValueError("told")

    one, other = socket.socketpair()
    link, sender = Link(one, hear), Link(other, lambda _: None)
    link.open()
    sender.open()
    sender.say("bad")
    sender.say("good")
    await until(lambda: heard == ["bad", "good"])
    assert not link.over
    link.close()
    sender.close()


async def test_whoever_hangs_up_has_heard_all_that_the_other_end_could_say() -> None:
    """What was said before is heard, though nobody had looked yet; what is said after that fails there."""
    ends = Ends()
    other = ends.join()
    assert other.say("taken", 1)
    ends.link.finish()
    assert [each.data for each in ends.heard] == [1]
    assert ends.lost == ["one"]
    assert not other.say("taken", 2)
    ends.close()


async def test_who_takes_nothing_is_given_up_but_heard_to_the_last_word() -> None:
    """It may have said that it has a connection: then nobody else may get it."""
    ends = Ends(waiting=1 << 20)
    other = Link(ends.raw, lambda _: None)  # it reads nothing
    while ends.link.say("blob", None, blob=b"x" * 65536):
        pass
    assert other.say("taken", 7)
    await until(lambda: ends.lost)
    assert [each.data for each in ends.heard] == [7]
    other.close()
