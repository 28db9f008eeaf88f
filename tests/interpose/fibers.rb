# Ruby embeds Python: each argument is a program that a fiber runs, with the GIL held; then all go on in turn.
# `ruby.pause()` in Python lets the next fiber run.
require "fiddle"
require "fiddle/import"

library = Fiddle.dlopen(ARGV.shift)
call = lambda do |name, takes, *arguments|
  Fiddle::Function.new(library[name], takes, Fiddle::TYPE_INT, need_gvl: true).call(*arguments)
end
run = ->(program) { call.("PyRun_SimpleString", [Fiddle::TYPE_VOIDP], program) }

pause = Fiddle::Closure::BlockCaller.new(Fiddle::TYPE_VOID, []) { Fiber.yield }
call.("Py_InitializeEx", [Fiddle::TYPE_INT], 0)
run.(<<~PYTHON)
  import ctypes, sys
  import stackwarden
  from stackwarden.testing import workloads
  pause = ctypes.PYFUNCTYPE(None)(#{pause.to_i})
PYTHON
fibers = ARGV.map { |program| Fiber.new { run.(program) } }
until fibers.empty?
  fibers.each(&:resume)
  fibers.select!(&:alive?)
end
run.("print(workloads.add(), workloads.containers(), flush=True)")
Process.exit!(0)
