@echo off
rem Starts Atelier; the first time it also makes .venv and installs what is needed.
rem   webui.bat [flags]               starts (--help lists the flags)
rem   webui.bat test [pytest flags]   runs ruff, pyright and pytest
rem PYTHON names the interpreter for a new .venv, TORCH_INDEX_URL another package index for PyTorch.
setlocal
set "CAN_START=import sys, venv, ensurepip; sys.exit(max(sys.version_info[:2], (3, 10)) == (3, 10))"
set "FOUND="

if not defined PYTHON goto search
call :try "%PYTHON:"=%"
if defined FOUND goto found
echo Atelier: PYTHON is "%PYTHON:"=%", which is not a Python 3.11 or newer.
set "CODE=2"
goto finish

:search
call :try "%~dp0.venv\Scripts\python.exe"
for %%P in ("py -3.11" "py -3.12" "py -3.13" "py -3.14" "python" "python3") do if not defined FOUND call :try %%~P
if defined FOUND goto found
echo Atelier: no Python 3.11 or newer was found; install one from python.org, or name one in PYTHON.
set "CODE=2"
goto finish

:found
rem The registry's PyTorch for Windows runs on the CPU only; the CUDA build lies on PyTorch's own index.
if defined TORCH_INDEX_URL goto launch
nvidia-smi >nul 2>nul
if errorlevel 1 goto launch
set "TORCH_INDEX_URL=https://download.pytorch.org/whl/cu132"

:launch
%FOUND% "%~dp0launch.py" %*
set "CODE=%ERRORLEVEL%"

:finish
if "%CODE%"=="0" goto end
if not "%~1"=="" goto end
rem Without flags it may be a double click, whose window would close with the message in it.
pause

:end
exit /b %CODE%

:try
%* -c "%CAN_START%" >nul 2>nul
if not errorlevel 1 set FOUND=%*
exit /b 0
