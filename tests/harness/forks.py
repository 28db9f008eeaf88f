"""What programs that fork begin with: in_child(function) is the exit status of a child that runs it, 0 or 1.

A child that hangs is ended by SIGALRM after 20 seconds, and its status is minus that number.
"""

IN_CHILD = """
    import os, signal, warnings

    # 3.12 and later warn of a fork beside threads, and 3.12's join() may return before the thread is gone.
    warnings.simplefilter("ignore", DeprecationWarning)

    def in_child(function):
        pid = os.fork()
        if pid == 0:
            signal.alarm(20)
            status = 1
            try:
                function()
                status = 0
            except BaseException as error:
                print(repr(error), flush=True)
            finally:
                os._exit(status)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""
