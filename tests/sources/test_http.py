"""The HTTP client asks again where that helps, waits as it is told, and keeps secrets."""

import logging
import re
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import httpx
import pytest

from servers.local import HTML, Fault, LocalServer, Request, Response, closed_port
from walkforge import __version__
from walkforge.base import FetchError, SourceUnreachableError, UsageError
from walkforge.sources._http import Answer, HttpClient, base_url, refuse_page, shown_url


class Halt(Event):
    """An Event that remembers the waits and does not wait; set after `patience` of them."""

    def __init__(self, patience: int = 1000) -> None:
        super().__init__()
        self.waits: list[float] = []
        self.patience = patience

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout)
        if len(self.waits) >= self.patience:
            self.set()
        return self.is_set()


def answer(request: Request) -> Response:
    if request.path == "/old":
        return Response(status=302, headers={"Location": "/new"})
    if request.path == "/none":
        return Response(b"nothing here", 404)
    return Response(b"bars " * 1000)


@pytest.fixture
def server():
    with LocalServer(answer) as server:
        yield server


@pytest.fixture
def client():
    client = HttpClient(connections=8, read_s=5.0)
    yield client
    client.close()


def told(answer_to) -> HttpClient:
    """Return a client whose connections are played by a function."""
    client = HttpClient(connections=1)
    client._client.close()
    client._client = httpx.Client(transport=httpx.MockTransport(answer_to))
    return client


def one_line(error: pytest.ExceptionInfo) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def test_what_lies_there_comes_with_its_headers_and_what_does_not_is_none(client, server):
    got = client.get(f"{server.url}/file", halt=Halt())
    assert got.content == b"bars " * 1000
    assert got.moment_ms("date") > 1_600_000_000_000
    assert got.moment_ms("last-modified") is None
    assert client.get(f"{server.url}/none", halt=Halt()) is None
    assert server.requests[0].headers["User-Agent"] == f"walkforge/{__version__}"


def test_redirects_are_followed(client, server):
    assert client.get(f"{server.url}/old", halt=Halt()).content.startswith(b"bars")
    assert server.paths == ["/old", "/new"]


def test_many_threads_share_one_client(client, server):
    with ThreadPoolExecutor(8) as threads:
        got = list(threads.map(lambda i: client.get(f"{server.url}/{i}", halt=Halt()), range(80)))
    assert {each.content for each in got} == {b"bars " * 1000}
    assert len(server.requests) == 80


def test_a_refused_connection_is_tried_five_times_with_growing_waits(client):
    port, halt = closed_port(), Halt()
    with pytest.raises(SourceUnreachableError) as error:
        client.get(f"http://127.0.0.1:{port}/file", halt=halt)
    words = one_line(error)
    assert words.startswith(f"127.0.0.1:{port} cannot be reached: Connection refused (5 tries)")
    assert "--url" in words
    assert [int(wait) for wait in halt.waits] == sorted(int(wait) for wait in halt.waits)
    assert all(wait >= least for wait, least in zip(halt.waits, (1, 2, 4, 8), strict=True))


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (httpx.ConnectError("[Errno -2] Name or service not known"), "Name or service not known"),
        (httpx.ConnectTimeout("timed out"), "timed out"),
        (httpx.ProxyError("no way to http://u:secret@proxy"), "no way to ..."),
    ],
)
def test_a_server_that_cannot_be_reached_is_named(failure, words):
    def fail(request):
        raise failure

    client = told(fail)
    with pytest.raises(SourceUnreachableError) as error:
        client.get("https://user:secret@example.org/file?key=secret", halt=Halt())
    assert one_line(error).startswith(f"example.org cannot be reached: {words} (5 tries)")
    assert "secret" not in one_line(error)
    client.close()


@pytest.mark.parametrize("kind", ["truncated", "reset"])
def test_a_connection_that_breaks_off_is_tried_again(client, server, kind):
    server.fail(Fault(kind, times=2))
    halt = Halt()
    assert client.get(f"{server.url}/file", halt=halt).content == b"bars " * 1000
    assert len(server.requests) == 3
    assert len(halt.waits) == 2


@pytest.mark.parametrize("kind", ["truncated", "reset"])
def test_a_connection_that_always_breaks_off_fails_after_five_tries(client, server, kind):
    server.fail(Fault(kind, times=100))
    with pytest.raises(FetchError, match="the connection broke off") as error:
        client.get(f"{server.url}/file", halt=Halt())
    assert not isinstance(error.value, SourceUnreachableError)
    assert one_line(error).startswith(f"{server.url}/file: ")
    assert len(server.requests) == 5


def test_a_server_that_never_answers_fails_after_five_tries(server):
    client = HttpClient(connections=1, read_s=0.1)
    server.fail(Fault("hang", times=100))
    with pytest.raises(FetchError, match=r"/file: no answer for 0\.1 s \(5 tries\)"):
        client.get(f"{server.url}/file", halt=Halt())
    assert len(server.requests) == 5
    client.close()


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_trouble_of_the_server_is_waited_out(client, server, status):
    server.fail(Fault("status", status=status, times=4))
    assert client.get(f"{server.url}/file", halt=Halt()) is not None
    server.fail(Fault("status", status=status, times=5))
    with pytest.raises(FetchError, match=rf"/file: answered {status}, its server has trouble"):
        client.get(f"{server.url}/file", halt=Halt())
    assert len(server.requests) == 10


def test_a_wait_that_is_asked_for_in_seconds_is_kept(client, server):
    server.fail(Fault("status", status=429, headers={"Retry-After": "77"}))
    halt = Halt()
    assert client.get(f"{server.url}/file", halt=halt) is not None
    assert halt.waits == [77.0]


def test_a_wait_until_a_moment_goes_by_the_clock_of_the_server():
    headers = {
        "Date": "Sun, 06 Nov 1994 08:49:37 GMT",
        "Retry-After": "Sun, 06 Nov 1994 08:50:37 GMT",
    }
    answers = iter([httpx.Response(503, headers=headers), httpx.Response(200, content=b"bars")])
    client, halt = told(lambda request: next(answers)), Halt()
    assert client.get("https://example.org/", halt=halt).content == b"bars"
    assert halt.waits == [60.0]
    client.close()


def test_an_absurdly_long_wait_is_not_begun_but_told():
    headers = {"Date": "Sun, 06 Nov 1994 08:00:00 GMT", "Retry-After": "7200"}
    client, halt = told(lambda request: httpx.Response(429, headers=headers)), Halt()
    with pytest.raises(SourceUnreachableError) as error:
        client.get("https://example.org/", halt=halt)
    assert "example.org answers no more until 1994-11-06 10:00 UTC" in one_line(error)
    assert "run the same command again" in one_line(error)
    assert halt.waits == []
    client.close()


def test_too_many_requests_for_ever_end_the_fetch(client, server):
    server.fail(Fault("status", status=429, headers={"Retry-After": "9"}, times=100))
    halt = Halt()
    with pytest.raises(SourceUnreachableError, match="answered 429, too many requests"):
        client.get(f"{server.url}/file", halt=halt)
    assert len(server.requests) == 5
    assert all(wait >= 9 for wait in halt.waits)


def test_waits_for_one_answer_add_up_to_ten_minutes_at_most(client, server):
    server.fail(Fault("status", status=429, headers={"Retry-After": "250"}, times=100))
    halt = Halt()
    with pytest.raises(SourceUnreachableError, match=r"too many requests \(3 tries\); try again"):
        client.get(f"{server.url}/file", halt=halt)
    assert halt.waits == [250.0, 250.0]
    assert len(server.requests) == 3


def test_a_ban_is_not_tried_again_and_says_until_when():
    asked = []
    headers = {"Date": "Sun, 06 Nov 1994 08:00:00 GMT", "Retry-After": "180"}

    def ban(request):
        asked.append(request)
        return httpx.Response(418, headers=headers)

    client = told(ban)
    with pytest.raises(SourceUnreachableError, match="bans this address until 1994-11-06 08:03"):
        client.get("https://example.org/", halt=Halt())
    assert len(asked) == 1
    headers.clear()
    with pytest.raises(SourceUnreachableError, match="for a time that it does not tell"):
        client.get("https://example.org/", halt=Halt())
    client.close()


@pytest.mark.parametrize(
    ("status", "hint"), [(401, "password"), (403, "country"), (451, "country"), (400, "URL")]
)
def test_a_refusal_is_told_at_once_with_a_hint(client, server, status, hint):
    server.fail(Fault("status", status=status))
    with pytest.raises(FetchError, match=f"/file: answered {status}; .*{hint}"):
        client.get(f"{server.url}/file", halt=Halt())
    assert len(server.requests) == 1


def test_a_halt_ends_a_wait(client, server):
    server.fail(Fault("status", status=500, times=100))
    with pytest.raises(FetchError, match=r"/file: interrupted$"):
        client.get(f"{server.url}/file", halt=Halt(patience=2))
    assert len(server.requests) == 2


def test_nothing_is_asked_for_after_a_halt(client, server):
    halt = Halt()
    halt.set()
    with pytest.raises(FetchError, match="interrupted"):
        client.get(f"{server.url}/file", halt=halt)
    assert server.requests == []


def test_a_halt_ends_a_download():
    halt = Halt()

    def body():
        yield b"bars"
        halt.set()
        yield b"more bars"

    client = told(lambda request: httpx.Response(200, content=body()))
    with pytest.raises(FetchError, match="interrupted"):
        client.get("https://example.org/", halt=halt)
    client.close()


@pytest.mark.parametrize("closes", ["halted", "unwarned"])
def test_closing_ends_a_download_that_hangs(server, closes):
    client, halt = HttpClient(connections=2, read_s=600.0), Halt()
    client.get(f"{server.url}/file", halt=halt)  # leaves a connection that is used again
    server.fail(Fault("hang", times=2))
    with ThreadPoolExecutor(2) as threads:
        hanging = [threads.submit(client.get, f"{server.url}/{i}", halt=halt) for i in range(2)]
        while len(server.requests) < 3:
            Event().wait(0.001)
        if closes == "halted":
            halt.set()
        client.close()
        for each in hanging:
            with pytest.raises(FetchError, match="interrupted"):
                each.result()
    with pytest.raises(FetchError, match="interrupted"):
        client.get(f"{server.url}/file", halt=Halt())


@pytest.mark.parametrize(
    "fault",
    [
        Fault("reset", times=9),
        Fault("truncated", times=9),
        Fault("status", status=500, times=9),
        Fault("status", status=429, times=9),
        Fault("status", status=429, headers={"Retry-After": "99999"}),
        Fault("status", status=418),
        Fault("status", status=403),
        Fault("status", status=302, headers={"Location": "ftp://user:secret@127.0.0.1/"}),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.status}",
)
def test_secrets_travel_but_are_never_told(client, server, fault, caplog):
    caplog.set_level(logging.INFO)
    url = server.url.replace("//", "//user:secret@")
    assert client.get(f"{url}/file?token=secret", halt=Halt()) is not None
    assert server.requests[0].headers["Authorization"].startswith("Basic ")
    server.fail(fault)
    with pytest.raises(FetchError) as error:
        client.get(f"{url}/file", params={"token": "secret"}, halt=Halt())
    told_words = re.sub(r"\?token=secret", "", caplog.text)
    assert "secret" not in one_line(error)
    assert "user" not in one_line(error)
    assert "secret@" not in told_words
    assert "user:" not in told_words


def test_a_web_page_is_told_from_data_with_its_title():
    page = Answer(b"\xef\xbb\xbf\n" + HTML, {})
    with pytest.raises(FetchError, match=r"^http://x/a: a web page \('Login'\) came instead of a"):
        refuse_page(page, "http://u:p@x/a?b=c", "a zip")
    with pytest.raises(FetchError, match="a web page came instead"):
        refuse_page(Answer(b"<HTML><body>", {}), "http://x/a", "a zip")
    for data in (b"PK\x03\x04", b"", b'<?xml version="1.0"?><ListBucketResult/>'):
        refuse_page(Answer(data, {"content-type": "text/html"}), "http://x/a", "a zip")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://example.org/a/b.zip", "https://example.org/a/b.zip"),
        ("https://user:word@example.org:8443/a?key=1#x", "https://example.org:8443/a"),
        ("https://user:w/or?d@example.org/a", "https://example.org/a"),
        ("user:word@example.org", "example.org"),
    ],
)
def test_an_address_is_shown_without_its_secrets(url, shown):
    assert shown_url(url) == shown


def test_a_base_address_loses_its_last_slash():
    assert (
        base_url("files", "http://user:word@127.0.0.1:80/a/") == "http://user:word@127.0.0.1:80/a"
    )


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.org",
        "ftp://example.org",
        "https://",
        "https://h/?a=1",
        "https://h:port",
        "https://u:pass w@h",
        "https://u:pa/ss@h",
    ],
)
def test_what_is_no_base_address_is_refused(url):
    with pytest.raises(UsageError, match="the URL of 'files' is ") as error:
        base_url("files", url)
    assert "pass" not in one_line(error)
