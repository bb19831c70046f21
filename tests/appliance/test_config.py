"""The configuration: what a file may say, who wins, and what is said about a slip."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from pathlib import Path

import jsonschema
import pytest

from appliance import config_read
from appliance.config import Config, Exchange, Gateway, Http, Record
from gateway.settings import GatewaySettings, HttpSettings
from handlers.errors import SetupError
from handlers.recording.recorder import RecordSettings
from handlers.settings import FeedSettings

REPOSITORY = Path(__file__).resolve().parents[2]


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "bookwire.toml"
    path.write_text(text)
    return path


def test_flag_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    path = written(tmp_path, "[gateway]\nport = 1111\ndepth_max = 11\nhost = '127.0.0.2'\n")
    environment = {"BOOKWIRE_GATEWAY_PORT": "2222", "BOOKWIRE_GATEWAY_DEPTH_MAX": "22"}
    config = config_read.load(path, environment=environment, flags={"gateway": {"port": 3333}})
    assert (config.gateway.port, config.gateway.depth_max, config.gateway.host) == (3333, 22, "127.0.0.2")
    assert config.http == Config().http


def test_environment_names_the_file_and_lists_are_separated_by_commas(tmp_path: Path) -> None:
    path = written(tmp_path, "[http]\nport = 7\n")
    environment = {"BOOKWIRE_CONFIG": str(path), "BOOKWIRE_EXCHANGES_SYMBOLS": "BTC-USDT, ETH-*"}
    config = config_read.load(environment=environment)
    assert config.http.port == 7
    assert config.exchanges.symbols == ("BTC-USDT", "ETH-*")


def test_an_exchange_takes_the_common_symbols_unless_it_has_its_own(tmp_path: Path) -> None:
    path = written(tmp_path, '[exchanges]\nsymbols = ["A-B"]\n[exchange.okx]\nsymbols = ["C-D"]\ncpu = 1\n')
    config = config_read.load(path, environment={})
    assert config.of("okx").symbols == ("C-D",)
    assert config.of("okx").cpu == 1
    assert config.of("kraken").symbols == ("A-B",)


def test_an_exchange_gets_the_names_of_all_and_its_own() -> None:
    symbols = ["BTC", "ETH-EUR", "*-USDT", "kraken:SOL", "okx:SOL", "BTC-USD"]
    config = config_read.load(environment={}, flags={"exchanges": {"symbols": symbols}})
    assert config.of("kraken").symbols == ("BTC", "ETH-EUR", "*-USDT", "SOL", "BTC-USD")


@pytest.mark.parametrize(
    ("text", "line", "what", "do", "code"),
    [
        (
            "[gateway]\nhost = '::1'\nprot = 1\n",
            3,
            "unknown key 'prot' in [gateway]",
            'did you mean "port"?',
            78,
        ),
        ("\n[gatway]\nport = 1\n", 2, "unknown key 'gatway'", 'did you mean "gateway"?', 78),
        ("gateway.port = 99999\n", 1, "gateway.port: expected `int` <= 65535", "configuration.md", 78),
        ("[gateway]\nport = '1'\n", 2, "gateway.port: expected `int`, got `str`", "configuration.md", 78),
        (
            "[exchange.okx]\n# note\nsymbol = []\n",
            3,
            "unknown key 'symbol' in [exchange.okx]",
            '"symbols"',
            78,
        ),
        ("[exchange.okx]\npoll = 'spin'\n", 2, "exchange.okx.poll: invalid enum value 'spin'", "", 78),
        ("[exchange.krakn]\n", 1, "exchange 'krakn' is unknown", 'did you mean "kraken"?', 64),
        ("[exchanges]\nenabled = ['okx', 'okx']\n", 2, "stands twice", "once", 78),
        ("[exchanges]\nenabled = []\n", 2, "no exchange is enabled", "at least one", 78),
        ("[gateway]\ntls_key = 'k'\n", 1, "tls_certificate and tls_key go together", "both", 78),
    ],
)
def test_a_slip_is_told_with_its_line_and_what_would_be_right(
    tmp_path: Path, text: str, line: int, what: str, do: str, code: int
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(SetupError) as caught:
        config_read.load(path, environment={})
    assert what in caught.value.what
    assert caught.value.where == f"{path}:{line}"
    assert do in caught.value.do
    assert caught.value.exit_code == code


def test_broken_toml_and_a_missing_file_are_told(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"not TOML: .*line 2"):
        config_read.load(written(tmp_path, "[gateway]\nport = = 1\n"), environment={})
    with pytest.raises(SetupError, match="No such file"):
        config_read.load(tmp_path / "absent.toml", environment={})


def test_a_misspelt_variable_is_told() -> None:
    with pytest.raises(SetupError, match='did you mean "BOOKWIRE_GATEWAY_PORT"'):
        config_read.load(environment={"BOOKWIRE_GATEWAY_PROT": "1"})
    with pytest.raises(SetupError, match="BOOKWIRE_HTTP_PORT='x'"):
        config_read.load(environment={"BOOKWIRE_HTTP_PORT": "x"})


def test_what_check_config_prints_reads_back_to_the_same(tmp_path: Path) -> None:
    flags = {
        "exchange": {"kraken": {"ca_file": str(tmp_path / 'a "b".pem'), "cpu": 3}},
        "simulate": {"rate": 2.5},
    }
    config = config_read.load(environment={}, flags=flags)
    path = written(tmp_path, config_read.to_toml(config))
    assert config_read.load(path, environment={}) == config


def test_the_published_schema_is_the_code_and_holds_for_what_it_prints() -> None:
    published = json.loads((REPOSITORY / "docs/config.schema.json").read_text())
    assert published == json.loads(json.dumps(config_read.schema())), "run `make schema`"
    tables = tomllib.loads(config_read.to_toml(config_read.load(environment={})))
    jsonschema.validate(tables, published)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"gateway": {"prot": 1}}, published)


@pytest.mark.parametrize(
    ("table", "settings", "filled_in"),
    [
        (Gateway, GatewaySettings, {"shm_dir", "run_dir", "arb", "record_dir"}),
        (Http, HttpSettings, {"shm_dir", "run_dir", "websocket_port", "arb", "record_dir", "exchanges"}),
        (
            Exchange,
            FeedSettings,
            {
                *("shm_dir", "run_dir", "exchange", "raw_ring_bytes", "routes"),
                *("measured", "sockets_measured_better"),
            },
        ),
        (Record, RecordSettings, {"shm_dir", "run_dir", "dir", "exchanges"}),
    ],
)
def test_a_table_offers_what_its_room_can_be_told(table: type, settings: type, filled_in: set[str]) -> None:
    rooms = {
        field.name: field.default for field in dataclasses.fields(settings) if field.name not in filled_in
    }
    offered = dict(zip(table.__struct_fields__, table.__struct_defaults__, strict=True))
    assert offered == rooms


def test_the_reference_lists_every_key() -> None:
    text = (REPOSITORY / "docs/reference/configuration.md").read_text()
    prose = (REPOSITORY / "docs/configuration.md").read_text()
    for table in Config.__struct_fields__:
        heading = "[exchange.<id>]" if table == "exchange" else f"[{table}]"
        assert f"## `{heading}`" in text, table
        assert f"`{heading}`" in prose, table
        for key in config_read.known_keys((table,)):
            assert f"`{key}`" in text, f"{table}.{key}"
