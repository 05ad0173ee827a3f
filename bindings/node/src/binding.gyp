# For install.js: the addon against an installed liblever, which pkg-config finds.
{
  'targets': [{
    'target_name': 'lever',
    'sources': [
      'addon.cc', 'binding.cc', 'client_functions.cc', 'event_buffer.cc', 'lending.cc',
      'metadata.cc', 'queue_functions.cc', 'service_functions.cc', 'stream_functions.cc',
      'takeover_functions.cc',
    ],
    'include_dirs': ['.', 'napi'],
    'defines': ['NAPI_VERSION=8', 'NODE_ADDON_API_DISABLE_CPP_EXCEPTIONS'],
    'cflags': ['<!@(pkg-config --cflags lever)', '-fvisibility=hidden'],
    'cflags_cc!': ['-std=gnu++17', '-std=gnu++20'],
    'cflags_cc': ['-std=c++20'],
    'libraries': [
      '<!@(pkg-config --libs lever)', '-Wl,-rpath,<!(pkg-config --variable=libdir lever)',
    ],
  }],
}
