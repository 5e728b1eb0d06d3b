"""What the continuous integration services say about a run, in the variables that they document.

Only the variables named in these tables are ever read: the environment holds secrets, and none of it is copied.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Provider:
    """One service."""

    name: str
    """What ``context_type`` says."""
    marker: str
    """The variable that is set in every run of it."""
    fields: Mapping[str, tuple[str, ...]]
    """Name in the evidence to the variables that have it, the best first."""


PROVIDERS = (
    # docs.github.com, "Variables reference", default environment variables
    Provider(
        "github",
        "GITHUB_ACTIONS",
        {
            "git_commit": ("GITHUB_SHA",),
            "git_ref": ("GITHUB_REF",),
            "git_branch": ("GITHUB_HEAD_REF",),
            "workflow": ("GITHUB_WORKFLOW",),
            "job_name": ("GITHUB_JOB",),
            "run_id": ("GITHUB_RUN_ID",),
            "build_num": ("GITHUB_RUN_NUMBER",),
            "actor": ("GITHUB_ACTOR",),
            "event_name": ("GITHUB_EVENT_NAME",),
        },
    ),
    # docs.gitlab.com, "Predefined CI/CD variables reference"
    Provider(
        "gitlab",
        "GITLAB_CI",
        {
            "git_url": ("CI_PROJECT_URL",),
            "git_commit": ("CI_COMMIT_SHA",),
            "git_branch": ("CI_COMMIT_BRANCH", "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME"),
            "git_tag": ("CI_COMMIT_TAG",),
            "pipeline_name": ("CI_PIPELINE_NAME",),
            "job_name": ("CI_JOB_NAME",),
            "run_id": ("CI_PIPELINE_ID",),
            "build_num": ("CI_PIPELINE_IID",),
            "actor": ("GITLAB_USER_LOGIN",),
            "event_name": ("CI_PIPELINE_SOURCE",),
        },
    ),
    # circleci.com/docs, "Project values and variables", built-in environment variables
    Provider(
        "circleci",
        "CIRCLECI",
        {
            "git_url": ("CIRCLE_REPOSITORY_URL",),
            "git_commit": ("CIRCLE_SHA1",),
            "git_branch": ("CIRCLE_BRANCH",),
            "git_tag": ("CIRCLE_TAG",),
            "job_name": ("CIRCLE_JOB",),
            "run_id": ("CIRCLE_WORKFLOW_ID",),
            "build_num": ("CIRCLE_BUILD_NUM",),
            "actor": ("CIRCLE_USERNAME",),
        },
    ),
    # learn.microsoft.com, Azure Pipelines, "Use predefined variables"
    Provider(
        "azure",
        "TF_BUILD",
        {
            "git_url": ("BUILD_REPOSITORY_URI",),
            "git_commit": ("BUILD_SOURCEVERSION",),
            "git_ref": ("BUILD_SOURCEBRANCH",),
            "git_branch": ("SYSTEM_PULLREQUEST_SOURCEBRANCH",),
            "pipeline_name": ("BUILD_DEFINITIONNAME",),
            "job_name": ("SYSTEM_JOBDISPLAYNAME", "AGENT_JOBNAME"),
            "run_id": ("BUILD_BUILDID",),
            "build_num": ("BUILD_BUILDNUMBER",),
            "actor": ("BUILD_REQUESTEDFOR",),
            "event_name": ("BUILD_REASON",),
        },
    ),
    # docs.travis-ci.com, "Environment variables", default environment variables
    Provider(
        "travis",
        "TRAVIS",
        {
            "git_commit": ("TRAVIS_COMMIT",),
            "git_branch": ("TRAVIS_PULL_REQUEST_BRANCH", "TRAVIS_BRANCH"),
            "git_tag": ("TRAVIS_TAG",),
            "job_name": ("TRAVIS_JOB_NAME",),
            "run_id": ("TRAVIS_BUILD_ID",),
            "build_num": ("TRAVIS_BUILD_NUMBER",),
            "event_name": ("TRAVIS_EVENT_TYPE",),
        },
    ),
    # support.atlassian.com, Bitbucket Cloud, "Variables and secrets", default variables
    Provider(
        "bitbucket",
        "BITBUCKET_BUILD_NUMBER",
        {
            "git_url": ("BITBUCKET_GIT_HTTP_ORIGIN",),
            "git_commit": ("BITBUCKET_COMMIT",),
            "git_branch": ("BITBUCKET_BRANCH",),
            "git_tag": ("BITBUCKET_TAG",),
            "run_id": ("BITBUCKET_PIPELINE_UUID",),
            "build_num": ("BITBUCKET_BUILD_NUMBER",),
            "actor": ("BITBUCKET_STEP_TRIGGERER_UUID",),
        },
    ),
    # jetbrains.com/help/teamcity, "Predefined build parameters", environment variables
    Provider(
        "teamcity",
        "TEAMCITY_VERSION",
        {
            "git_commit": ("BUILD_VCS_NUMBER",),
            "pipeline_name": ("TEAMCITY_PROJECT_NAME",),
            "job_name": ("TEAMCITY_BUILDCONF_NAME",),
            "build_num": ("BUILD_NUMBER",),
        },
    ),
    # Tekton sets nothing by itself; a Task passes these on, from $(context.pipelineRun.name) and its parameters.
    Provider(
        "tekton",
        "TEKTON_PIPELINE_RUN",
        {
            "git_url": ("TEKTON_GIT_URL",),
            "git_commit": ("TEKTON_COMMIT_SHA",),
            "git_branch": ("TEKTON_BRANCH",),
            "pipeline_name": ("TEKTON_PIPELINE",),
            "job_name": ("TEKTON_TASK",),
            "run_id": ("TEKTON_PIPELINE_RUN",),
        },
    ),
    # jenkins.io/doc, "Using environment variables"; Git and Pipeline: Multibranch plugins. Last: other services' agents
    # may run inside Jenkins, and say so by their own markers.
    Provider(
        "jenkins",
        "JENKINS_URL",
        {
            "git_url": ("GIT_URL", "GIT_URL_1"),
            "git_commit": ("GIT_COMMIT",),
            "git_branch": ("CHANGE_BRANCH", "GIT_LOCAL_BRANCH", "GIT_BRANCH"),
            "git_tag": ("TAG_NAME",),
            "pipeline_name": ("JOB_NAME",),
            "job_name": ("STAGE_NAME", "JOB_NAME"),
            "run_id": ("BUILD_TAG",),
            "build_num": ("BUILD_NUMBER",),
            "actor": ("BUILD_USER_ID", "CHANGE_AUTHOR"),
        },
    ),
)
"""In the order in which they are looked for."""


def run(environ: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The service that runs this process, ``local`` for none, and what it says of the run, as it says it."""
    for provider in PROVIDERS:
        if environ.get(provider.marker):
            found = {}
            for name, variables in provider.fields.items():
                value = next((value for variable in variables if (value := environ.get(variable))), None)
                if value:
                    found[name] = value
            return provider.name, _settled(provider.name, found, environ)
    return "local", {}


def _settled(provider: str, found: dict[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """Where one variable says several things, or two say one."""
    if provider == "github" and (repository := environ.get("GITHUB_REPOSITORY")):
        found["git_url"] = f"{environ.get('GITHUB_SERVER_URL') or 'https://github.com'}/{repository}"
    if provider == "jenkins":
        found["git_branch"] = found.get("git_branch", "").removeprefix("origin/")
    if provider == "travis" and found.get("git_branch") == found.get("git_tag"):
        found.pop("git_branch", None)  # for a tag, Travis repeats it as the branch
    ref = found.get("git_ref", "")
    if ref.startswith("refs/tags/"):
        found.setdefault("git_tag", ref.removeprefix("refs/tags/"))
    branch = found.get("git_branch") or (ref if ref.startswith("refs/heads/") else "")
    found["git_branch"] = branch.removeprefix("refs/heads/")
    return {name: value for name, value in found.items() if value}
