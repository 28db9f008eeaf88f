"""STACKWARDEN=... and -X stackwarden=... apply policies when the package is imported."""

SHOW = """
    import stackwarden
    status = stackwarden.status()
    print(*(status[name] for name in ("policy", "policy_unknown", "policy_foreign_threads", "assumed_size")))
"""
WORDS = "policy=counted,unknown=disabled,foreign-threads=estimate,assumed-size=64K"


def test_the_environment(child):
    assert child(SHOW, STACKWARDEN=WORDS).stdout == "counted disabled estimate 65536\n"


def test_the_command_line(child):
    done = child(SHOW, options=("-X", f"stackwarden={WORDS}"))
    assert done.stdout == "counted disabled estimate 65536\n"


def test_the_command_line_wins_word_by_word(child):
    done = child(SHOW, options=("-X", "stackwarden=unknown=exact"), STACKWARDEN=WORDS)
    assert done.stdout == "counted exact estimate 65536\n"


def test_nothing_given_is_the_default(child):
    assert child(SHOW).stdout == "exact estimate exact 262144\n"
    assert child(SHOW, STACKWARDEN="").stdout == "exact estimate exact 262144\n"


def test_what_is_wrong_is_a_warning_and_the_program_starts(child):
    done = child(SHOW, STACKWARDEN="policy=never,unknown=counted,nonsense")
    assert done.stdout == "exact counted exact 262144\n"
    assert "'policy=never' is left out" in done.stderr
    assert "'nonsense' is left out" in done.stderr


def test_a_setting_is_effective_for_the_importing_thread(child):
    done = child(
        """
        import stackwarden
        print(stackwarden.current_stack().policy)
        """,
        STACKWARDEN="policy=disabled",
    )
    assert done.stdout == "disabled\n"


def test_doctor_shows_the_policies(child):
    program = """
        import sys
        from stackwarden.__main__ import main
        sys.argv = ["stackwarden", "doctor"]
        main()
    """
    shown = child(program, STACKWARDEN="unknown=counted,foreign-threads=disabled").stdout
    for words in (["policy_unknown", "counted"], ["policy_foreign_threads", "disabled"]):
        assert any(all(word in line for word in words) for line in shown.splitlines()), shown
