"""Images, compose files, manifest and scripts: no engine runs here, so they are read and parsed."""

import json
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from evomerge.errors import EvomergeError
from evomerge.study import load_study
from tests.docker.command_line import parse_evomerge, parse_ray

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"


def compose(name):
    return yaml.safe_load((DOCKER / name).read_text())


def manifests():
    return list(yaml.safe_load_all((DOCKER / "kuberay.yaml").read_text()))


def pins(name):
    lines = (DOCKER / name).read_text().splitlines()
    return [Requirement(line) for line in lines if not line.startswith("#")]


def instructions():
    """The Dockerfile as (instruction, rest), continuation lines joined, comments left out."""
    lines = [one for one in (DOCKER / "Dockerfile").read_text().splitlines() if one[:1] != "#"]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in joined.splitlines() if line.strip()]


def stages():
    """Stage name to (what it is from, its instructions)."""
    found, current = {}, None
    for word, rest in instructions():
        if word == "FROM":
            source, _, name = rest.split()
            current = found[name] = (source, [])
        elif current is not None:
            current[1].append((word, rest))
    return found


def container_commands():
    """Every command that a container of a compose file or manifest is started with."""
    for service in compose("compose.yaml")["services"].values():
        yield [*service["entrypoint"], *service["command"]]
        if "healthcheck" in service:
            yield service["healthcheck"]["test"][1:]
    for container in manifests()[2]["spec"]["template"]["spec"]["containers"]:
        yield [*container["command"], *container["args"]]


def script_commands():
    """Every command line of evomerge or ray in a script, and in the guide."""
    for path in DOCKER.glob("*.sh"):
        code = re.sub(r"^ *(#|echo).*$", "", path.read_text(), flags=re.MULTILINE)
        for line in code.replace("\\\n", " ").splitlines():
            for command in re.findall(r"(?:^|\s)((?:evomerge|ray) .*)", line):
                yield path.name, re.split(r" &$| \|\| ", command)[0]
    guide = (DOCKER / "README.md").read_text()
    for command in re.findall(r"`((?:evomerge|ray) [^`]+)`", guide):
        yield "README.md", command.replace("STUDY", "study.yaml")
    for words in re.findall(r"^docker run .* evomerge:\w+ (.*)$", guide, re.MULTILINE):
        yield "README.md", f"evomerge {words}"


def parsed(words, study):
    """Parse a command line by the program it names; `study` stands for the file it names."""
    program, *rest = words
    if program in ("evomerge", "on-ray"):
        return parse_evomerge(
            [str(study) if word.endswith("study.yaml") else word for word in rest]
        )
    assert program == "ray"
    return parse_ray(rest)


@pytest.mark.parametrize("command", list(container_commands()), ids=shlex.join)
def test_what_a_container_is_started_with_can_be_parsed(command):
    assert parsed(command, DOCKER / "study.yaml")


@pytest.mark.parametrize(("file", "command"), sorted(set(script_commands())))
def test_commands_in_scripts_and_guides_can_be_parsed(file, command):
    values = {"study": "study.yaml", "run": "runs/x", "port": "6379", "RAY_HEAD": "head:6379"}
    command = re.sub(r"\$\([^)]*\)", "host", command)
    command = re.sub(r"\$\{?(\w+)\}?", lambda found: values.get(found[1], ""), command)
    words = [*shlex.split(command.replace('"$@"', "run study.yaml"))]
    assert parsed(words, DOCKER / "study.yaml")


def test_there_are_commands_to_parse():
    assert {command[0] for command in container_commands()} == {"ray", "on-ray"}
    assert {"slurm.sh", "on-ray.sh", "README.md"} <= {file for file, _ in script_commands()}


def test_a_command_that_does_not_exist_is_noticed():
    for words in (["on-ray", "rum", "study.yaml"], ["ray", "begin"]):
        with pytest.raises(AssertionError):
            assert parsed(words, DOCKER / "study.yaml")
    with pytest.raises(EvomergeError):
        parsed(["evomerge", "run", "study.yaml", "--or-resumes"], DOCKER / "study.yaml")


def test_the_study_is_one():
    config = load_study(DOCKER / "study.yaml")
    assert config.workers.backend == "ray"
    assert config.workers.placement.on_demand  # nodes join after the search has begun


@pytest.mark.parametrize("script", sorted(path.name for path in DOCKER.glob("*.sh")))
def test_scripts_are_shell(script):
    path = DOCKER / script
    shell = path.read_text().splitlines()[0].removeprefix("#!").strip()
    subprocess.run([shell, "-n", path], check=True)
    assert path.stat().st_mode & 0o111


def test_every_step_of_the_images_is_shell_and_copies_what_is_there():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    seen = [line.removeprefix("!") for line in ignored if line.startswith("!")]
    for word, rest in instructions():
        if word == "RUN":
            command = re.sub(r"--mount=\S+", "", rest)
            subprocess.run(["sh", "-n", "-c", command], check=True)
        elif word == "COPY" and "--from" not in rest:
            *sources, _ = [part for part in rest.split() if not part.startswith("--")]
            for source in sources:
                assert (ROOT / source).exists(), source
                assert any(Path(source).match(pattern) for pattern in seen), source
        elif word in ("ENTRYPOINT", "CMD"):
            assert json.loads(rest)


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_images_are_pinned_and_run_as_nobody_special(target):
    base = dict(instructions())["ARG"]
    assert re.fullmatch(r"PYTHON=python:\d+\.\d+\.\d+-\S+@sha256:[0-9a-f]{64}", base)
    found = stages()
    _, steps = found[target]
    assert steps[-1] == ("USER", "evomerge")
    while target in found:
        target, _ = found[target]
    assert target == "${PYTHON}"


def test_targets_and_names_agree():
    names = set(stages())
    for name in ("compose.yaml", "compose.cuda.yaml"):
        for service in compose(name)["services"].values():
            assert service["build"]["target"] in names
            assert service["image"] == f"evomerge:{service['build']['target']}"
    cluster, claim, job = manifests()
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    workers = cluster["spec"]["workerGroupSpecs"][0]["template"]["spec"]
    assert container["image"] == workers["containers"][0]["image"]  # the same torch on every node
    environment = {one["name"]: one for one in container["env"]}
    name = cluster["metadata"]["name"]
    assert environment["RAY_HEAD"]["value"] == f"{name}-head-svc:6379"
    assert environment["RAY_AUTH_TOKEN"]["valueFrom"]["secretKeyRef"]["name"] == name
    claims = {one.get("persistentVolumeClaim", {}).get("claimName") for one in pod["volumes"]}
    assert claim["metadata"]["name"] in claims
    for spec in (pod, workers):
        volumes = {one["name"] for one in spec["volumes"]}
        assert {one["name"] for one in spec["containers"][0]["volumeMounts"]} <= volumes
        assert spec["securityContext"]["runAsNonRoot"]
    rules = job["spec"]["podFailurePolicy"]["rules"]
    assert rules[0]["onExitCodes"]["containerName"] == container["name"]
    assert pod["restartPolicy"] == "Never"  # else Kubernetes refuses a policy


def test_a_search_that_fails_is_not_started_again():
    search = compose("compose.yaml")["services"]["search"]
    assert "restart" not in search  # an engine's policy would start any code but 0 again
    assert int(search["environment"]["RESTARTS"]) > 0  # on-ray's own knows which ones
    assert "restart" not in compose("compose.cuda.yaml")["services"]["search"]
    job = manifests()[2]["spec"]
    (codes,) = (
        rule["onExitCodes"] for rule in job["podFailurePolicy"]["rules"] if "onExitCodes" in rule
    )
    assert (codes["operator"], codes["values"]) == ("In", [1, 2])


def test_pins_are_complete_and_meet_what_the_project_asks_for():
    both = ("requirements.txt", "requirements-cuda.txt")
    listed = {canonicalize_name(one.name): one for name in both for one in pins(name)}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = set(re.findall(r"--extra (\S+)", (ROOT / "Makefile").read_text()))
    assert "ray" in extras
    wanted = [*project["dependencies"]]
    wanted += [one for extra in extras for one in project["optional-dependencies"][extra]]
    more = (DOCKER / "requirements.in").read_text().splitlines()
    wanted += [line.partition(" #")[0] for line in more if not line.startswith("#")]
    for text in wanted:
        requirement = Requirement(text)
        (pin,) = listed[canonicalize_name(requirement.name)].specifier
        assert pin.operator == "=="
        assert requirement.specifier.contains(pin.version, prereleases=True), text
    (ray,) = listed["ray"].specifier
    assert manifests()[0]["spec"]["rayVersion"] == ray.version
