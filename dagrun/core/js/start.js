// What runs the expressions of one text. Answers are JSON, because texts may hold characters (NUL, lone surrogates) that
// the bridge to Python would lose; after a ! comes what was thrown.
(function (global, momentSource, momentPatch) {
  var parse = JSON.parse, stringify = JSON.stringify, evaluateGlobally = eval, Compile = Function;
  var Internal = InternalError, toText = String;
  var scope = {};

  // The bridge reads what was thrown when the limit of time counts no more, and whatever is called then may never return.
  // So it gets only what can't be caught, the end of time, and there nothing of an expression's own is called.
  Object.defineProperty(Internal.prototype, 'toString', {value: Error.prototype.toString});
  Object.defineProperty(Internal.prototype, 'stack', {value: ''});
  Object.defineProperty(Internal.prototype, Symbol.toPrimitive, {value: undefined});
  Object.freeze(Internal.prototype);

  // These would let an expression wait for ever, or say that the engine is another one than it is.
  ['globalThis', 'SharedArrayBuffer', 'Atomics', '__date_clock', 'FinalizationRegistry', 'WeakRef'].forEach(function (name) {
    delete global[name];
  });

  // moment costs some milliseconds, so it is loaded at the first use.
  Object.defineProperty(global, 'moment', {
    configurable: true,
    get: function () {
      delete global.moment;
      evaluateGlobally(momentSource);
      evaluateGlobally(momentPatch)(global.moment);
      return global.moment;
    },
    set: function (value) {
      Object.defineProperty(global, 'moment', {configurable: true, writable: true, value: value});
    }
  });

  function compile(source) {
    // The line break ends a comment at the end of the expression.
    return new Compile('with (this) { return (' + source + '\n); }');
  }

  function thrown(error) {
    try {
      return '!' + stringify(toText(error));
    } catch (another) {
      var exhausted = another === null || another instanceof Internal || error instanceof Internal;
      return exhausted ? '!"null"' : '!"an object that is no text"';
    }
  }

  return {
    begin: function (variables) { scope = parse(variables); },
    compile: function (source) { compile(source); },
    run: function (source) {
      try {
        var value = compile(source).call(scope);
        if (value === null || value === undefined) return '""';
        return stringify(typeof value === 'string' ? value : stringify(value) + '');
      } catch (error) {
        return thrown(error);
      }
    }
  };
})
