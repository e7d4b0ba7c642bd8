"""Define the version of Trainyard: https://semver.org."""

VERSION = "0.2.0"
