"""Dead letters as the commands list and redrive them, on a real database."""

import gzip

import pytest


@pytest.fixture
def letters(worker):
    worker.sql("""
        insert into dead_letters (letter_key, message_id, exchange, routing_key, reason, body, attempts)
        select 'k' || n, 'm' || n, 'switchyard.commands', 'memory.store_memory', 'r',
            convert_to(repeat('x', n * 1000), 'UTF8'), 1
        from generate_series(1, 20) n
    """)
    return worker


def test_letters_are_listed_newest_first_page_by_page_with_the_beginning_of_their_body(letters):
    listed = letters.all_pages("list_dead_letters", "dead_letters", limit=3)
    assert [each["message_id"] for each in listed] == [f"m{n}" for n in range(20, 0, -1)]
    assert [len(each["body"]) for each in listed] == [min(n * 1000, 10_000) for n in range(20, 0, -1)]
    assert listed[0]["redriven"] is None
    assert letters.ask("list_dead_letters", cursor="nonsense")["code"] == "invalid"


def test_asking_for_a_redrive_marks_letters_once(letters):
    ids = [row.id for row in letters.sql("select id from dead_letters order by id")]
    assert letters.do("redrive_dead_letters", dead_letter_ids=ids[:3]) == {"redriven": 3}
    assert letters.do("redrive_dead_letters", dead_letter_ids=[*ids[:4], 999]) == {"redriven": 1}
    assert letters.do("redrive_dead_letters", "{}") == {"redriven": 16}
    assert letters.do("redrive_dead_letters", "{}") == {"redriven": 0}


def test_a_command_that_was_given_up_has_failed_until_it_is_sent_again(letters):
    answer = letters.ask("get_command", message_id="m7")
    assert (answer["status"], answer["error"]["code"]) == ("failed", "internal")
    assert "dead letters: r" in answer["error"]["message"]
    letters.sql("update dead_letters set redriven = now() where message_id = 'm7'")
    assert letters.ask("get_command", message_id="m7")["code"] == "not_found"


def test_one_letter_is_shown_with_its_headers_and_all_of_its_body(letters):
    [row] = letters.sql("""
        update dead_letters set headers = '{"x-attempt": 3}', content_encoding = 'identity'
        where message_id = 'm20' returning id
    """)
    shown = letters.ask("get_dead_letter", dead_letter_id=row.id)["dead_letter"]
    assert (shown["message_id"], shown["headers"], shown["content_encoding"]) == ("m20", {"x-attempt": 3}, "identity")
    assert (shown["size"], shown["body"], shown["waiting"]) == (20_000, "x" * 20_000, False)
    letters.do("redrive_dead_letters", dead_letter_ids=[row.id])
    assert letters.ask("get_dead_letter", dead_letter_id=row.id)["dead_letter"]["waiting"] is True


def test_a_compressed_body_is_shown_as_the_text_it_holds(letters):
    [row] = letters.sql(
        "update dead_letters set content_encoding = 'gzip', body = :body where message_id = 'm1' returning id",
        body=gzip.compress(b"y" * 30_000),
    )
    assert letters.ask("get_dead_letter", dead_letter_id=row.id)["dead_letter"]["body"] == "y" * 30_000


def test_a_letter_that_is_not_there_is_not_found(letters):
    error = letters.ask("get_dead_letter", dead_letter_id=2**62)
    assert (error["code"], error["details"]) == ("not_found", {"dead_letter_id": 2**62})


def test_what_became_of_letters_is_told_by_their_ids(letters):
    ids = [row.id for row in letters.sql("select id from dead_letters order by id")]
    letters.do("redrive_dead_letters", dead_letter_ids=ids[:3])
    letters.sql("update dead_letters set redriven = now(), redrive_due = null where id = :id", id=ids[0])
    told = letters.ask("get_redrive", dead_letter_ids=[*ids[:4], 2**62])
    assert told == {"waiting": ids[1:3], "redriven": ids[:1], "kept": ids[3:4]}


@pytest.mark.parametrize("routing_key", ["sidebar.post_to_sidebar", "session.batch", "task.claim_task"])
def test_what_a_confidential_command_says_is_shown_to_admins_only(letters, routing_key):
    [row] = letters.sql(
        "update dead_letters set routing_key = :key where message_id = 'm20' returning id", key=routing_key
    )
    shown = letters.ask("get_dead_letter", dead_letter_id=row.id)["dead_letter"]
    assert (shown["body"], shown["size"], shown["reason"]) == ("", 20_000, "r")
    assert letters.ask("list_dead_letters", limit=1)["dead_letters"][0]["body"] == ""
    assert letters.ask("get_dead_letter", dead_letter_id=row.id, by_admin=True)["dead_letter"]["body"] == "x" * 20_000
    assert letters.ask("list_dead_letters", limit=1, by_admin=True)["dead_letters"][0]["body"] == "x" * 10_000
