"""Finds the program that starts TensorFlow Serving: its binary, or Docker with its image."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess

BINARY = "tensorflow_model_server"
IMAGE = "tensorflow/serving"


class ServerMissing(RuntimeError):
    """Neither the binary nor the image of TensorFlow Serving is on this machine."""


@dataclasses.dataclass(frozen=True)
class Program:
    """The program that starts TensorFlow Serving.

    Attributes:
        command: path of `tensorflow_model_server`, or of `docker`.
        image: the Docker image. None: the command is the server itself.
    """

    command: str
    image: str | None = None


def find_program(image: str = IMAGE) -> Program:
    """The binary on PATH or, if there is none, Docker with `image`, if it has that image.

    Raises:
        ServerMissing: Neither is there. The message says how to get one.
    """
    if binary := shutil.which(BINARY):
        return Program(binary)
    problem = "no docker"
    if docker := shutil.which("docker"):
        try:
            done = subprocess.run(
                [docker, "image", "inspect", image], capture_output=True, text=True, timeout=30
            )
        except subprocess.TimeoutExpired:
            problem = "a Docker that does not answer"
        else:
            if done.returncode == 0:
                return Program(docker, image)
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            problem = f"a Docker without the image {image} ({last})"
    raise ServerMissing(
        f"expected {BINARY} on PATH, or Docker with the image {image}, received neither "
        f"({problem}). Get one with `docker pull {image}`, or install TensorFlow Serving's Debian "
        "package tensorflow-model-server; or give --preview to start the preview server, which is "
        "for development and tests"
    )
