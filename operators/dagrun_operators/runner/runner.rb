# Call one Ruby method as a task: `runner.rb METHOD input.json output.json [FEATURE]`.
#
# One file with nothing but the standard library, Ruby 2.5 or later: it is copied beside its input and run in the working
# directory of the task. It loads FEATURE, finds the method, fills its parameters by name from the variables, calls it,
# and writes in one piece what the code stored, exported and generated, or its error.
#
# User code sees Digdag.env, and the same hashes as constants of DigdagEnv.

require 'json'
require 'rbconfig'

module DigdagEnv
  PARAMS = JSON.parse(File.read(ARGV.fetch(1), encoding: 'utf-8')).fetch('params')
  STORE_PARAMS = {}
  EXPORT_PARAMS = {}
  STATE_PARAMS = {} # accepted and never kept, as in Digdag
  SUBTASK_CONFIG = {}
end

module Digdag
  # The variables, and what the code gives back.
  class Env
    def params; DigdagEnv::PARAMS; end
    def store_params; DigdagEnv::STORE_PARAMS; end
    def export_params; DigdagEnv::EXPORT_PARAMS; end
    def state_params; DigdagEnv::STATE_PARAMS; end
    def subtask_config; DigdagEnv::SUBTASK_CONFIG; end

    # Give values to all tasks that come after this one.
    def store(params = {}, **more)
      store_params.update(as_json(params.merge(more)))
    end

    # Give values to the tasks that this one generates.
    def export(params = {}, **more)
      export_params.update(as_json(params.merge(more)))
    end

    def set_state(params = {}, **more)
      state_params.update(as_json(params.merge(more)))
    end

    # Generate a task: (hash), (:method, hash), or (Class or :ClassName, :method, hash).
    def add_subtask(*arguments)
      config = as_json(arguments.last.is_a?(Hash) ? arguments.pop : {})
      config = { 'rb>' => path_of(*arguments) }.merge(config) unless arguments.empty?
      subtask_config["+subtask#{@subtasks = (@subtasks || -1) + 1}"] = config
      nil
    end

    private

    # The hash as it will arrive: keys are strings. Raises what JSON raises when a value can't be held.
    def as_json(hash)
      JSON.parse(JSON.generate(hash))
    end

    def path_of(*names)
      raise ArgumentError, "add_subtask takes a hash, a method, or a class and a method" if names.size > 2
      *owner, name = names
      if owner.empty?
        raise ArgumentError, "undefined method: #{name}" unless TOPLEVEL_BINDING.receiver.respond_to?(name, true)
        return name.to_s
      end
      klass = owner.first.is_a?(Module) ? owner.first : Object.const_get(owner.first.to_s)
      raise ArgumentError, 'a class without a name can not be found again' unless klass.name
      unless klass.public_method_defined?(name) || klass.respond_to?(name)
        raise ArgumentError, "undefined method: #{klass.name}.#{name}"
      end
      "::#{klass.name}.#{name}"
    end
  end

  DEFAULT_ENV = Env.new
  def self.env; DEFAULT_ENV; end
end

# All that belongs to the runner itself, out of the way of user code.
module DagrunRunner
  module_function

  def run(path, output_file, feature, main)
    output_file = File.expand_path(output_file)
    status, result = outcome(path, feature, main)
    File.write("#{output_file}.part", JSON.generate(result))
    File.rename("#{output_file}.part", output_file)
    status
  end

  # Call it; the exit status and the contents of the result file.
  def outcome(path, feature, main)
    begin
      require feature if feature
      call(find(path, main))
    rescue SystemExit => e
      raise unless e.success?
    end
    env = Digdag.env
    result = { store_params: env.store_params, export_params: env.export_params, subtask_config: env.subtask_config }
    JSON.generate(result)
    [0, result]
  rescue Exception => e # also NotImplementedError, LoadError, SyntaxError and exit: the task must know why
    trace = (e.backtrace || []).reject { |line| line.start_with?(__FILE__, '<internal:') }
    STDOUT.flush
    STDERR.puts "#{e.class}: #{e.message}", trace.map { |line| "    from #{line}" }
    status = e.is_a?(SystemExit) ? e.status : 1
    backtrace = trace.map { |line| "    from #{line}\n" }
    [status, { error: { class: e.class.name, message: message_of(e), backtrace: backtrace } }]
  end

  # `method` at the top level; or `Name::Space::Class.method`, of a new object or else of the class itself.
  def find(path, main)
    owner, _, name = path.rpartition('.')
    return main.method(name) if owner.empty?
    klass = Object.const_get(owner)
    if klass.is_a?(Class) && klass.public_method_defined?(name)
      call(klass.method(:new), klass.instance_method(:initialize).parameters, klass.name).public_method(name)
    else
      klass.public_method(name)
    end
  end

  def call(method, parameters = method.parameters, label = method.name)
    positional, keywords = arguments(parameters, label)
    # Without keywords Ruby 2 would pass an empty hash as one more argument.
    keywords.empty? ? method.call(*positional) : method.call(*positional, **keywords)
  end

  # The variables as arguments, by name. Raises ArgumentError that names all parameters for which there is none.
  def arguments(parameters, label)
    variables = DigdagEnv::PARAMS
    given = ->(name) { variables.key?(name.to_s) }
    missing = parameters.select { |kind, name| %i[req keyreq].include?(kind) && !given[name] }.map { |_, name| name }
    unless missing.empty?
      raise ArgumentError, "#{label} needs #{missing.join(', ')}, and there is no variable of that name"
    end
    # An optional parameter can only be filled when all optional ones before it are.
    optional = parameters.select { |kind, _| kind == :opt }.take_while { |_, name| given[name] }
    positional = parameters.select { |pair| pair[0] == :req || optional.include?(pair) }
    keywords = parameters.select { |kind, name| kind == :keyreq || (kind == :key && given[name]) }
    everything = parameters.any? { |kind, _| kind == :keyrest } ? variables.keys : []
    names = everything | keywords.map { |_, name| name.to_s }
    [positional.map { |_, name| variables[name.to_s] }, names.map { |name| [name.to_sym, variables[name]] }.to_h]
  end

  def message_of(error)
    return "exit(#{error.status})" if error.is_a?(SystemExit)
    # Newer versions add a picture of the line, or a hint, to the message of some errors.
    message = error.respond_to?(:original_message) ? error.original_message : error.message
    return message unless error.is_a?(LoadError)
    "#{message}. The interpreter is #{RbConfig.ruby} (Ruby #{RUBY_VERSION}); another one is chosen by `ruby:`. " \
      'For gems of a Gemfile set BUNDLE_GEMFILE in _env and use  ruby: [bundle, exec, ruby]'
  end
end

STDOUT.sync = true
exit DagrunRunner.run(ARGV[0], ARGV[2], ARGV[3], self)
