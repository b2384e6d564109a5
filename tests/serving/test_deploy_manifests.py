"""deploy/: compose file, Kubernetes manifests and Dockerfile fit each other and TF-Serving."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import text_format
from tf_serving_facts import FLAGS, message

import serving
from serving.server.flags import parse_flags

DEPLOY = Path(serving.__path__[0]) / "deploy"
ROOT = DEPLOY.parents[1]
IMAGE = "tensorflow/serving:2.20.0"
OURS = {"host"}
"""Flags of `idp-tf serve` that TF-Serving does not have."""


def loaded(path: str) -> Any:
    return yaml.safe_load((DEPLOY / path).read_text(encoding="utf-8"))


def flags(arguments: list[str]) -> dict[str, str]:
    named = dict(argument.removeprefix("--").split("=", 1) for argument in arguments)
    assert len(named) == len(arguments)
    return named


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    services: dict[str, Any] = loaded("docker-compose.yaml")["services"]
    return services


@pytest.fixture(scope="module")
def pod() -> dict[str, Any]:
    spec: dict[str, Any] = loaded("kubernetes/deployment.yaml")["spec"]["template"]["spec"]
    return spec


@pytest.fixture(scope="module")
def container(pod: dict[str, Any]) -> dict[str, Any]:
    (only,) = pod["containers"]
    return dict(only)


SERVERS = ("serving", "serving-scann", "stand-in")


@pytest.mark.parametrize("name", SERVERS)
def test_compose_flags(compose: dict[str, Any], name: str) -> None:
    given = flags(compose[name]["command"])
    assert set(given) <= FLAGS | (OURS if name == "stand-in" else set())
    assert (given["port"], given["rest_api_port"]) == ("8500", "8501")
    for value in given.values():
        if value.startswith("/config/"):
            assert (DEPLOY / value.lstrip("/")).is_file(), value


@pytest.mark.parametrize("name", SERVERS)
def test_compose_server(compose: dict[str, Any], name: str) -> None:
    service = compose[name]
    assert {volume.split(":", 1)[1].rpartition("}")[2] for volume in service["volumes"]} == {
        ":/models:ro",
        "/config:ro",
    }
    # Published on this machine alone.
    assert [port.split(":")[0] for port in service["ports"]] == ["127.0.0.1"] * 2
    assert [port.split(":")[-1] for port in service["ports"]] == ["8500", "8501"]
    assert service["read_only"] and service["cap_drop"] == ["ALL"]
    assert not service["user"].startswith("0")
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
    probe, config = service["healthcheck"]["test"][-2:]
    assert (DEPLOY / probe.lstrip("/")).is_file()
    assert config == flags(service["command"])["model_config_file"]


def test_compose_profiles_and_images(compose: dict[str, Any]) -> None:
    profiles = {name: service.get("profiles") for name, service in compose.items()}
    assert profiles == {
        "serving": None,
        "serving-scann": ["scann"],
        "stand-in": ["stand-in"],
        "prometheus": ["monitoring"],
        "grafana": ["monitoring"],
    }
    assert compose["serving"]["image"] == IMAGE
    for name, service in compose.items():
        if "build" not in service:
            tag = service["image"].rstrip("}").rpartition(":")[2]
            assert re.search(r"\d+\.\d+\.\d+", tag), name


def test_the_two_forms_run_alike(compose: dict[str, Any]) -> None:
    exact, scann = (flags(compose[name]["command"]) for name in SERVERS[:2])
    assert exact.pop("model_config_file") == "/config/models.config"
    assert scann.pop("model_config_file") == "/config/models_scann.config"
    assert exact == scann


def test_what_compose_mounts_is_there(compose: dict[str, Any]) -> None:
    mounted = [
        volume.split(":")[0]
        for service in compose.values()
        for volume in service["volumes"]
        if volume.startswith("./")
    ]
    assert len(mounted) >= 5
    assert [path for path in mounted if not (DEPLOY / path).exists()] == []


def test_monitoring_fits(compose: dict[str, Any]) -> None:
    (job,) = loaded("monitoring/prometheus.yml")["scrape_configs"]
    (names,) = job["dns_sd_configs"]
    assert names["names"] == list(SERVERS) and names["port"] == 8501
    (source,) = loaded("monitoring/grafana/provisioning/datasources/prometheus.yaml")["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert compose["prometheus"]["ports"] == ["127.0.0.1:9090:9090"]
    (provider,) = loaded("monitoring/grafana/provisioning/dashboards/files.yaml")["providers"]
    folder = f"./monitoring/grafana/dashboards:{provider['options']['path']}:ro"
    assert folder in compose["grafana"]["volumes"]


def test_threads_are_as_many_as_cores(compose: dict[str, Any], container: dict[str, Any]) -> None:
    text = (DEPLOY / "config/batching_parameters.txt").read_text(encoding="utf-8")
    cores = text_format.Parse(text, message("BatchingParameters")).num_batch_threads.value
    for name in SERVERS:
        assert compose[name]["deploy"]["resources"]["limits"]["cpus"] == str(cores)
        assert flags(compose[name]["command"])["tensorflow_session_parallelism"] == str(cores)
    assert container["resources"]["limits"]["cpu"] == str(cores)
    assert flags(container["args"])["tensorflow_session_parallelism"] == str(cores)


def test_the_stand_in_takes_the_same_command(compose: dict[str, Any]) -> None:
    """Moving from one to the other changes the command's first word."""
    read = parse_flags(compose["serving"]["command"])
    assert read["model_config_file"] == "/config/models.config"
    assert read["num_load_threads"] == 3


def test_a_broken_version_holds_up_no_other_model(compose: dict[str, Any]) -> None:
    """``core/aspired_versions_manager.h``: without threads loads, and waits, come in turn."""
    for name in SERVERS:
        given = flags(compose[name]["command"])
        file = (DEPLOY / given["model_config_file"].lstrip("/")).read_text(encoding="utf-8")
        assert int(given["num_load_threads"]) >= len(
            re.findall(r"^  config \{", file, re.MULTILINE)
        )
        waits = int(given["max_num_load_retries"]) * int(given["load_retry_interval_micros"])
        assert waits <= 10e6


def test_kubernetes_runs_what_compose_runs(
    compose: dict[str, Any], container: dict[str, Any]
) -> None:
    assert container["image"] == IMAGE
    assert container["command"] == compose["serving"]["entrypoint"]
    theirs, ours = flags(compose["serving"]["command"]), flags(container["args"])
    # A ConfigMap that changes rolls the pods; connections end so that a Service balances.
    del theirs["model_config_file_poll_wait_seconds"]
    del ours["grpc_channel_arguments"]
    assert ours == theirs


def test_ports_and_probes(container: dict[str, Any]) -> None:
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    given = flags(container["args"])
    assert ports == {"grpc": int(given["port"]), "rest": int(given["rest_api_port"])}
    service = loaded("kubernetes/service.yaml")["spec"]
    assert {port["targetPort"]: port["port"] for port in service["ports"]} == ports
    assert container["startupProbe"]["tcpSocket"]["port"] in ports
    assert container["livenessProbe"]["grpc"]["port"] == ports["grpc"]
    assert given["enable_grpc_healthcheck_service"] == "true"
    shell, probe, config = container["readinessProbe"]["exec"]["command"]
    assert (shell, config) == ("bash", given["model_config_file"])
    assert (DEPLOY / probe.lstrip("/")).is_file()
    monitor = loaded("kubernetes/service-monitor/service-monitor.yaml")["spec"]
    assert [end["port"] for end in monitor["endpoints"]] == ["rest"]


def test_the_pod_outlives_its_drain(pod: dict[str, Any], container: dict[str, Any]) -> None:
    (_, seconds) = container["lifecycle"]["preStop"]["exec"]["command"]
    assert int(seconds) < pod["terminationGracePeriodSeconds"]
    assert pod["shareProcessNamespace"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]


def test_volumes(pod: dict[str, Any], container: dict[str, Any]) -> None:
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert set(volumes) == set(mounts)
    claim = loaded("kubernetes/model-volume-claim.yaml")["metadata"]["name"]
    assert volumes["models"]["persistentVolumeClaim"]["claimName"] == claim
    assert mounts["models"]["mountPath"] == "/models" and mounts["models"]["readOnly"]
    (made,) = loaded("config/kustomization.yaml")["configMapGenerator"]
    assert volumes["config"]["configMap"]["name"] == made["name"]
    assert mounts["config"]["mountPath"] == "/config"
    # What the flags and the probe name is in the ConfigMap.
    text = " ".join([*container["args"], *container["readinessProbe"]["exec"]["command"]])
    assert set(re.findall(r"/config/([\w.]+)", text)) == set(made["files"])


def test_everything_means_the_same_pods() -> None:
    deployment = loaded("kubernetes/deployment.yaml")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    assert loaded("kubernetes/service.yaml")["spec"]["selector"] == labels
    budget = loaded("kubernetes/pod-disruption-budget.yaml")["spec"]
    assert budget["selector"]["matchLabels"] == labels
    scaler = loaded("kubernetes/horizontal-pod-autoscaler.yaml")["spec"]
    assert scaler["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    # With one pod the budget would allow none, and the autoscaler sets how many there are.
    assert scaler["minReplicas"] > budget["maxUnavailable"]
    assert "replicas" not in deployment["spec"]
    monitor = loaded("kubernetes/service-monitor/service-monitor.yaml")["spec"]
    assert (
        monitor["selector"]["matchLabels"]
        == loaded("kubernetes/service.yaml")["metadata"]["labels"]
    )


def test_kustomizations_list_every_manifest() -> None:
    for file in (DEPLOY / "kubernetes").rglob("kustomization.yaml"):
        manifests = {path.name for path in file.parent.glob("*.yaml")} - {file.name}
        listed = yaml.safe_load(file.read_text(encoding="utf-8"))["resources"]
        assert {name for name in listed if name.endswith(".yaml")} == manifests
        for name in listed:
            assert (file.parent / name).exists(), name


def test_manifests_name_no_namespace() -> None:
    for file in (DEPLOY / "kubernetes").rglob("*.yaml"):
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
        assert document["apiVersion"] and document["kind"]
        assert "namespace" not in document.get("metadata", {})


def test_dockerfile(compose: dict[str, Any]) -> None:
    assert compose["stand-in"]["build"]["dockerfile"] == "serving/deploy/Dockerfile"
    assert (DEPLOY / compose["stand-in"]["build"]["context"]).resolve() == ROOT
    lines = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").splitlines()
    last_stage = max(i for i, line in enumerate(lines) if line.startswith("FROM"))
    users = [line.split()[1] for line in lines[last_stage:] if line.startswith("USER")]
    assert users == ["10001:10001"]
    assert "EXPOSE 8500 8501" in lines
    copied = {
        source
        for line in lines
        if line.startswith("COPY ") and "--from" not in line
        for source in line.split()[1:-1]
    }
    assert [name for name in copied if not (ROOT / name).exists()] == []
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert {line[1:] for line in ignored if line.startswith("!")} == copied
    # Every package that setup.cfg installs.
    listed = re.search(r"include =\n((?: +\S+\n)+)", (ROOT / "setup.cfg").read_text())
    assert listed is not None
    assert {name.rstrip("*") for name in listed[1].split()} <= copied
