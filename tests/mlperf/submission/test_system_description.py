"""The system description: what was detected, what follows, what is asked for."""

import json
from pathlib import Path

import pytest
from mlperf_logging.system_desc_checker.system_desc_checker import check_system_desc

from jax_mlperf.errors import UserError
from jax_mlperf.mlperf.reading.result_set import ResultSet
from jax_mlperf.mlperf.reading.run_log import RunLog
from jax_mlperf.mlperf.submission.system_description import FIELDS, STATUSES, parse_settings, system_description, write_template

_RECORD = {"number_of_nodes": "1", "host_processors_per_node": "1", "host_processor_model_name": "AMD EPYC 9654",
           "host_processor_core_count": "96", "host_processor_vcpu_count": "192", "host_processor_frequency": "3.70 GHz",
           "host_processor_caches": "L3 384M", "host_memory_capacity": "755 GiB", "host_storage_type": "SSD (ext4)",
           "host_storage_capacity": "1.92 TB", "accelerators_per_node": "0", "operating_system": "Debian 12", "jax": "0.10.2",
           "flax": "0.12.8", "jaxlib": "0.10.2", "python": "3.12.1", "kernel": "Linux 6.1", "processes": "1"}
_GIVEN = {"host_memory_configuration": "12x 64 GB DDR5", "cooling": "air"}


def runs(environment=_RECORD, division="closed", status="onprem"):
    facts = {"submission_benchmark": "resnet", "submission_division": division}
    facts |= {"submission_status": status} if status else {}
    records = {} if environment is None else {"environment": environment}
    return ResultSet(Path("/runs/resnet"), [RunLog(Path("/runs/resnet/result_0.txt"), facts=facts)], records)


def describe(*sets, given=_GIVEN, ruleset="4.0.0"):
    return system_description(sets or [runs()], given, org="university", system="epyc", ruleset=ruleset)


def test_detected_and_given_make_the_33_fields_that_the_official_checker_wants(tmp_path):
    description = describe()
    (tmp_path / "epyc.json").write_text(json.dumps(description))
    assert check_system_desc(str(tmp_path / "epyc.json"), "training", "4.1.0")[0]
    assert len(description) == 33 and all(isinstance(value, str) for value in description.values())
    wanted = {"submitter": "university", "system_name": "epyc", "division": "closed", "status": "Available on-premise",
              "host_processor_interconnect": "N/A (one processor)", "host_networking": "N/A (one node)", "accelerator_frequency": "N/A",
              "accelerator_on-chip_memories": "N/A", "framework": "JAX 0.10.2, Flax 0.12.8", "cooling": "air", "hw_notes": "",
              "other_software_stack": "jaxlib 0.10.2, Python 3.12.1, kernel Linux 6.1"}
    assert {name: description[name] for name in wanted} == wanted


def test_what_the_user_gives_goes_before_what_was_detected():
    given = {**_GIVEN, "host_memory_capacity": "768 GB", "accelerator_model_name": "none"}
    description = describe(given=given)
    assert (description["host_memory_capacity"], description["accelerator_model_name"]) == ("768 GB", "none")


def test_all_missing_fields_are_asked_for_at_once_with_examples():
    record = {name: value for name, value in _RECORD.items() if not name.startswith(("host_memory", "accelerators"))}
    with pytest.raises(UserError) as caught:
        describe(runs(record), given={"cooling": "air"})
    text = str(caught.value)
    missing = [field for field in FIELDS if field.startswith("accelerator")] + ["host_memory_capacity", "host_memory_configuration"]
    assert f"lacks {len(missing)} of its fields" in text and text.count("\n  --set ") == len(missing)
    assert "--set host_memory_configuration='32x 64 GB DDR5-4800'" in text and "--set accelerators_per_node=8" in text
    assert "--system_file" in text and "--template" in text


def test_machines_that_differ_between_folders_or_during_the_runs_are_asked_for():
    other = {**_RECORD, "host_memory_capacity": "1007 GiB", "kernel": "Linux 6.1; later Linux 6.2"}
    with pytest.raises(UserError, match=r"(?s)lacks 2.*host_memory_capacity.*755 GiB / 1007 GiB.*other_software.*6\.1 / .*6\.2"):
        describe(runs(), runs(other))
    with pytest.raises(UserError, match="Linux 6.2"):
        describe(runs(other))
    given = {**_GIVEN, "host_memory_capacity": "755 GiB", "other_software_stack": "Linux"}
    assert describe(runs(), runs(other), given=given)["host_memory_capacity"] == "755 GiB"


@pytest.mark.parametrize("ruleset", ["4.0.0", "5.0.0", "3.1.0", "0.7.0"])
def test_status_has_the_words_of_the_ruleset(ruleset, tmp_path):
    for short, long in STATUSES.items():
        description = describe(runs(status=short), ruleset=ruleset)
        assert description["status"] == (long if ruleset[0] >= "4" else short)
        for word in (short, long):
            assert describe(runs(status=None), given={**_GIVEN, "status": word}, ruleset=ruleset) == description
        (tmp_path / "epyc.json").write_text(json.dumps(description))
        assert check_system_desc(str(tmp_path / "epyc.json"), "training", ruleset)[0]


@pytest.mark.parametrize(("sets", "given", "message"), [
    ([runs()], {"status": "cloud"}, "status 'cloud' was given, but submission_status is onprem"),
    ([runs(status=None)], {"status": "rented"}, "status is 'rented', must be one of onprem, cloud, preview, research"),
    ([runs(status=None)], {}, "--set status="),
    ([runs(status="rented")], {}, "submission_status is rented, must be one of"),
    ([runs(), runs(status="cloud")], {}, "one submission has one submission_status: it is onprem in"),
    ([runs(), runs(division="open")], {}, "one submission has one submission_division"),
    ([runs(division=None)], {}, "submission_division is None, must be one of closed, open"),
    ([runs()], {"division": "open"}, "division is 'closed' by the logs and flags; 'open' was given"),
    ([runs()], {"submitter": "other"}, "submitter is 'university'"),
    ([runs()], {"number_of_nodes": "two"}, "number_of_nodes is 'two', must be a whole number of at least 1"),
    ([runs()], {"accelerators_per_node": "-1"}, "accelerators_per_node is '-1'"),
    ([runs()], {"number_of_nodes": "0"}, "number_of_nodes is '0'"),
    ([runs()], {"framework": ""}, "--set framework="),
    ([runs({"jax": 7, "number_of_nodes": ["1"]})], {}, "--set number_of_nodes="), ([runs(None)], {}, "lacks 2"), ([runs("text")], {}, "lacks 2")])
def test_what_cannot_be_described_says_why(sets, given, message):
    with pytest.raises(UserError) as caught:
        describe(*sets, given={**_GIVEN, **given})
    assert message in str(caught.value)


def test_settings_come_from_flags_and_file_and_flags_win(tmp_path):
    file = tmp_path / "system.json"
    file.write_text(json.dumps({"cooling": "air", "number_of_nodes": 4, "hw_notes": "", "framework": "<for example: JAX>"}))
    assert parse_settings(["cooling=liquid = cold", "sw_notes="], file) == {
        "cooling": "liquid = cold", "number_of_nodes": "4", "hw_notes": "", "sw_notes": ""}


@pytest.mark.parametrize(("pairs", "content", "message"), [
    (["coolng=air"], "{}", "no field 'coolng'; the nearest is 'cooling'"),
    (["accelerator_onchip_memories=1"], "{}", "the nearest is 'accelerator_on-chip_memories'"),
    (["cooling"], "{}", "--set cooling has no value"), ([], '{"hardware_notes": ""}', "no field 'hardware_notes'; the nearest is 'hw_notes'"),
    ([], '{"cooling": ["air"]}', 'cooling is ["air"], must be text or a number'), ([], '{"cooling": true}', "cooling is true"),
    ([], "[]", "holds no JSON object"), ([], "{", "is not JSON"), ([], None, "cannot be read")])
def test_mistakes_in_settings(tmp_path, pairs, content, message):
    file = tmp_path / "system.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UserError) as caught:
        parse_settings(pairs, file)
    assert message in str(caught.value)


def test_a_filled_in_template_is_all_that_is_needed(tmp_path):
    file = tmp_path / "system.json"
    assert write_template(file, [runs()], {"cooling": "air"}) == 1
    content = json.loads(file.read_text())
    assert content["host_memory_configuration"] == "<for example: 32x 64 GB DDR5-4800>"
    assert content["host_processor_core_count"] == "96" and content["cooling"] == "air"
    assert not {"submitter", "division", "status", "system_name"} & content.keys()
    with pytest.raises(UserError, match="lacks 1 of its fields"):
        describe(given=parse_settings([], file))
    file.write_text(file.read_text().replace("<for example: 32x 64 GB DDR5-4800>", "12x 64 GB DDR5"))
    assert describe(given=parse_settings([], file)) == describe()
    with pytest.raises(UserError, match="exists already"):
        write_template(file, [runs()], {})
    with pytest.raises(UserError, match="cannot be written"):
        write_template(tmp_path / "absent" / "system.json", [runs()], {})


def test_nothing_is_left_of_a_template_that_fails_half_way(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr("jax_mlperf.mlperf.submission.system_description.json.dumps", fail)
    with pytest.raises(UserError, match="cannot be written: No space left"):
        write_template(tmp_path / "system.json", [runs()], {})
    assert not any(tmp_path.iterdir())


def test_a_template_asks_for_the_status_that_the_logs_lack(tmp_path):
    write_template(tmp_path / "system.json", [runs(status=None)], {})
    assert json.loads((tmp_path / "system.json").read_text())["status"] == "<for example: Available on-premise>"


def test_one_accelerator_of_one_node_is_connected_to_no_other():
    described = describe(runs({**_RECORD, "accelerators_per_node": "1", "accelerator_model_name": "NVIDIA H200"}), given={
        **_GIVEN, **{field: "x" for field in FIELDS if field.startswith(("accelerator_m", "accelerator_h", "accelerator_f", "accelerator_o"))}})
    assert described["accelerator_interconnect"] == "N/A (one accelerator)"
