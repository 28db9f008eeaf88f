"""stackwarden::call_on_stack: results, references and exceptions of C++ pass from one stack to the other."""

import pytest

import extensions

SOURCE = r"""
#include <stackwarden/stackwarden.h>

#include <memory>
#include <stdexcept>
#include <vector>

namespace {

constexpr size_t size = 1 << 20;

size_t here()
{
    stackwarden_stack stack{};
    stackwarden_current_stack(&stack);
    return stack.size;
}

PyObject *sizes(PyObject *, PyObject *)
{
    size_t outside = here(), inside = 0;
    stackwarden::call_on_stack(size, [&] { inside = here(); }); // nothing is returned
    return Py_BuildValue("nnn", (Py_ssize_t)outside, (Py_ssize_t)inside, (Py_ssize_t)here());
}

PyObject *results(PyObject *, PyObject *)
{
    int number = 1;
    int &same = stackwarden::call_on_stack(size, [&]() -> int & { return number; });
    same = 7;
    std::unique_ptr<int> moved = stackwarden::call_on_stack(size, [] { return std::unique_ptr<int>(new int(8)); });
    std::vector<int> many = stackwarden::call_on_stack(size, [] { return std::vector<int>(9, 1); });
    return Py_BuildValue("iin", number, *moved, (Py_ssize_t)many.size());
}

PyObject *exceptions(PyObject *, PyObject *)
{
    try {
        stackwarden::call_on_stack(size, []() -> int { throw std::out_of_range("thrown there"); });
    }
    catch (const std::out_of_range &error) {
        return PyUnicode_FromString(error.what());
    }
    Py_RETURN_NONE;
}

PyObject *refusal(PyObject *, PyObject *)
{
    bool called = false;
    try {
        stackwarden::call_on_stack(16, [&] { called = true; });
    }
    catch (const std::runtime_error &error) {
        return Py_BuildValue("is", called, error.what());
    }
    Py_RETURN_NONE;
}

PyMethodDef methods[] = {{"sizes", sizes, METH_NOARGS, nullptr},
                         {"results", results, METH_NOARGS, nullptr},
                         {"exceptions", exceptions, METH_NOARGS, nullptr},
                         {"refusal", refusal, METH_NOARGS, nullptr},
                         {nullptr, nullptr, 0, nullptr}};
PyModuleDef definition = {PyModuleDef_HEAD_INIT, "calls_cxx", nullptr, 0, methods,
                          nullptr, nullptr, nullptr, nullptr};

} // namespace

PyMODINIT_FUNC PyInit_calls_cxx()
{
    return stackwarden_import() < 0 ? nullptr : PyModule_Create(&definition);
}
"""


@pytest.fixture(scope="module")
def calls(tmp_path_factory):
    source = tmp_path_factory.mktemp("cxx") / "calls_cxx.cpp"
    source.write_text(SOURCE)
    return extensions.load(extensions.build([source], "calls_cxx", language="c++"))


def test_the_function_runs_on_a_stack_of_the_size(calls):
    outside, inside, afterwards = calls.sizes()
    assert inside >= 1 << 20
    assert inside != outside == afterwards


def test_results_are_returned_moved_or_referred_to(calls):
    assert calls.results() == (7, 8, 9)


def test_exceptions_pass(calls):
    assert calls.exceptions() == "thrown there"


def test_a_refusal_is_an_exception_and_nothing_was_called(calls):
    called, text = calls.refusal()
    assert not called
    assert text.startswith("stackwarden: refused: ")
