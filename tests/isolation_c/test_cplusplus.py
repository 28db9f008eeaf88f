"""The functions for switching in the middle of Python, from C++."""

import extensions

SOURCE = r"""
#include <stackwarden/stackwarden.h>

static_assert(STACKWARDEN_ISOLATION_FRAMES != STACKWARDEN_ISOLATION_THREAD_STATE, "two kinds");

extern "C" PyObject *PyInit_switching()
{
    static PyModuleDef definition = {};
    if (stackwarden_import() < 0) {
        return nullptr;
    }
    const stackwarden_stack stack{};
    stackwarden_status status = STACKWARDEN_DONE;
    for (unsigned flags : {0u, STACKWARDEN_SWITCH_ENDS}) {
        status = stackwarden_start_switch(nullptr, flags);
        status = stackwarden_finish_switch();
    }
    status = stackwarden_start_switch_blocking(&stack, 0);
    status = stackwarden_renew_stack(0, nullptr);
    status = stackwarden_drain();
    definition.m_name = stackwarden_status_text(status);
    return PyModule_Create(&definition);
}
"""


def test_the_header_compiles_and_links(tmp_path):
    source = tmp_path / "switching.cpp"
    source.write_text(SOURCE)
    assert extensions.build([source], "switching", language="c++").exists()
