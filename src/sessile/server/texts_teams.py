"""The words of teams, and of making and changing services and agents; a part of `texts`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Teams:
    title: str = "Teams"
    intro: str = (
        "People who answer together for services and agents. What an owner may do with them, each member who is active"
        " may. A team cannot sign in and has no rights of its own."
    )
    name: str = "Team"
    name_hint: str = "It owns under this name: team:NAME."
    members: str = "Members"
    members_hint: str = "User names, with spaces or commas between them."
    nobody: str = "Nobody"
    answers_for: str = "Answers for"
    add_title: str = "Make a team"
    add: str = "Make the team"
    none: str = "No teams yet"
    none_hint: str = "Services and agents belong to single people."
    back: str = "All teams"
    facts: str = "Facts"
    no_members: str = "Nobody is in it"
    no_members_hint: str = "It can own nothing until somebody who is active joins."
    unanswered: str = "Nobody in it is active, so nobody answers for what it owns: let somebody join, or hand it over."
    owned: str = "What it answers for"
    owned_none: str = "Nothing"
    owned_none_hint: str = "No service or agent names it as its owner."
    join_title: str = "Let somebody join"
    join: str = "Join"
    person: str = "User name"
    leave: str = "Remove"
    leave_label: str = "Remove {name} from {team}"
    delete: str = "Delete the team"
    delete_says: str = "It owns nothing, and is gone at once."
    joined: str = "{name} is in the team."
    left: str = "{name} is in the team no more. Keys that they were shown are on their offboarding page."
    was_deleted: str = "{team} is deleted."
    no_person: str = "Nobody is called {name}."
    wrong: str = "A name has 1 to 120 characters, without spaces, slashes and colons."
    of_person: str = "Teams"


@dataclass(frozen=True, slots=True)
class Owned:
    """The form that makes a service or an agent, and the one that changes who answers for it."""

    add: str = "Add a service or an agent"
    add_title: str = "Add a service or an agent"
    add_intro: str = "It gets no password: people who answer for it hand it keys and delegations."
    submit: str = "Add it"
    change: str = "Change owner or purpose"
    change_title: str = "Who answers for {name}?"
    change_intro: str = "Changing it ends nothing. Rotate the keys that the one before was shown."
    change_submit: str = "Change it"
    unanswered: str = "Nobody answers for these now"
    unanswered_hint: str = "They go on, and so do their keys. Give each another owner, or disable it."
    give: str = "Give another owner"
    change_label: str = "Give {name} another owner"
    alone: str = "Nobody else answers for {list}. To hand over or end these too, offboard them instead."
    name: str = "Name"
    name_hint: str = "service:NAME or agent:NAME."
    owner: str = "Who answers for it"
    owner_hint: str = "A person's user name, or team:NAME."
    purpose: str = "What it is for"
    purpose_hint: str = "A few words: whoever finds it in two years has nothing else to go by."
    name_wrong: str = "Begin with service: or agent:, then 1 to 120 characters without spaces, slashes and colons."
    owner_wrong: str = "There is no {owner}: name a person, or a team as team:NAME."
    purpose_missing: str = "Say what it is for."
    purpose_long: str = "Use at most {maximum} characters."
